"""Exported files do what the checkpoint does: in our verbs, and in scripts that know neither us."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

import blitznet
from blitznet.classes import VOC_CLASSES
from blitznet.cli import main
from blitznet.detection.postprocess import decode_detections
from blitznet.export.limits import Limits
from blitznet.export.parity import TOLERANCES
from blitznet.export.run import export_network
from blitznet.inference.engines.exported import LIBRARIES, ExportedEngine, open_exported
from blitznet.model.blitznet import normalize_images
from blitznet.model.checkpoint import save_checkpoint
from blitznet.model_files import CheckpointInfo
from fixtures.make_fixtures import VOC_MINI
from tiny_network import NAMES, SIZE, tiny_model

pytestmark = [
    pytest.mark.slow,
    pytest.mark.filterwarnings("ignore:.*does not have many workers:UserWarning"),
]

LIMITS = Limits(score=0.2)  # an untrained network gives every class about a quarter
DOCS = Path(__file__).parents[2] / "docs/export.md"


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint, and a file of each format made from it."""
    folder = tmp_path_factory.mktemp("export")
    save(folder / "tiny.safetensors")
    for name, suffix in (("onnx", "onnx"), ("openvino", "xml"), ("torchscript", "torchscript")):
        out = folder / f"tiny.{suffix}"
        export_network(str(folder / "tiny.safetensors"), name, out=out, limits=LIMITS)
    return folder


def save(path: Path, names: tuple[str, ...] = NAMES, **overrides: object) -> Path:
    model = tiny_model(num_classes=len(names), **overrides)
    training = {"data": "none", "licence": "free"}
    save_checkpoint(path, model, CheckpointInfo(model=model.config, names=names, training=training))
    return path


@pytest.fixture(
    params=[(suffix, library) for suffix, fitting in LIBRARIES.items() for library in fitting],
    ids="-".join,
)
def runtime(folder: Path, request: pytest.FixtureRequest) -> ExportedEngine:
    suffix, library = request.param
    return open_exported(folder / f"tiny{suffix}", library, "cpu")


def noise(count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)


@pytest.mark.parametrize("count", [1, 2, 7, 32])
def test_a_file_gives_what_the_checkpoint_gives_for_any_number_of_pictures(
    runtime: ExportedEngine, count: int
) -> None:
    pixels = noise(count)
    model = tiny_model().eval()
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    with torch.inference_mode():
        raw = model(normalize_images(images, model.config.mean, model.config.std))
    expected = decode_detections(raw, model.anchors, SIZE, 0.27)
    found = runtime.run(pixels, 0.27)
    assert raw.seg_logits is not None
    assert found.detections is not None
    assert found.seg_logits is not None
    # Sums in another order: a few units in the last place of logits near 1.
    np.testing.assert_allclose(found.seg_logits, raw.seg_logits, atol=1e-4)
    for wanted, given in zip(expected, found.detections, strict=True):
        assert abs(len(wanted.labels) - len(given.labels)) <= 1  # one may be at the threshold
        assert len(given.labels) > 10
        both = min(len(wanted.labels), len(given.labels))
        torch.testing.assert_close(given.scores[:both], wanted.scores[:both], atol=1e-4, rtol=0)


def test_a_file_tells_what_the_checkpoint_tells(runtime: ExportedEngine) -> None:
    info = runtime.info
    assert info.names == NAMES
    assert info.model == tiny_model().config
    assert info.training["licence"] == "free"
    assert (info.score, info.iou, info.top) == tuple(LIMITS[:3])
    assert info.outputs == ("boxes", "scores", "labels", "count", "seg_map", "seg_logits")


@pytest.mark.parametrize(
    ("task", "outputs"),
    [("detect", ("seg_map", "seg_logits")), ("segment", ("boxes", "scores", "labels", "count"))],
)
def test_a_network_of_one_task_lacks_the_outputs_of_the_other(
    task: str, outputs: tuple[str, ...], tmp_path: Path
) -> None:
    checkpoint = save(tmp_path / "tiny.safetensors", **{task: False})
    export_network(str(checkpoint), "onnx", out=tmp_path / "one.onnx", limits=LIMITS)
    runtime = open_exported(tmp_path / "one.onnx", device="cpu")
    assert runtime.info.outputs == outputs
    found = runtime.run(noise(2), 0.5)
    assert (found.detections is None, found.seg_logits is None) == (
        task == "detect",
        task == "segment",
    )


def test_the_verbs_take_a_file_as_they_take_a_checkpoint(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    picture = str(VOC_MINI / "JPEGImages/000001.jpg")
    lines = []
    for name, library in (("tiny.safetensors", "torch"), ("tiny.onnx", "auto")):
        arguments = [
            "--runtime",
            library,
            "--model",
            str(folder / name),
            "--score",
            "0.3",
            "--no-draw",
            "--save-masks",
        ]
        assert main(["predict", picture, *arguments, "--out", name, "--device", "cpu"]) == 0
        lines.append(json.loads(Path(name, "predictions.jsonl").read_text()))
    checkpoint, exported = lines
    assert exported["pixels"] == checkpoint["pixels"]
    assert len(exported["detections"]) == len(checkpoint["detections"])
    masks = [
        Path(name, "masks/000001.png").read_bytes() for name in ("tiny.safetensors", "tiny.onnx")
    ]
    assert masks[0] == masks[1]

    scene = blitznet.load(folder / "tiny.onnx", "cpu").predict(picture, score=0.3)
    assert len(scene.labels) == len(exported["detections"])


def test_the_script_of_the_docs_runs_without_torch_and_without_us(
    folder: Path, tmp_path: Path
) -> None:
    script = re.findall(r"```python\n(.*?)```", DOCS.read_text(), flags=re.DOTALL)[0]
    picture = VOC_MINI / "JPEGImages/000001.jpg"
    script = script.replace("blitznet300-mobile.onnx", str(folder / "tiny.onnx"))
    script = script.replace("street.jpg", str(picture))
    assert len(script.strip().splitlines()) <= 12
    script += "\nimport sys; print(sorted({'torch', 'blitznet', 'onnx'} & sys.modules.keys()))"
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    *objects, modules = run.stdout.splitlines()
    assert modules == "[]"
    assert all(line.split()[0] in NAMES for line in objects[:-1])


def test_the_comparison_lies_beside_the_file(folder: Path) -> None:
    report = json.loads((folder / "tiny.onnx.parity.json").read_text())
    assert report["passed"] is True
    assert set(report["raw"]) == {"class_logits", "box_deltas", "seg_logits"}
    assert max(raw["largest"] for raw in report["raw"].values()) < 1e-3


def test_a_file_that_differs_too_much_is_not_kept_unless_it_is_forced(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(TOLERANCES, "fp32", replace(TOLERANCES["fp32"], pixels=1.1))
    arguments = ["export", str(folder / "tiny.safetensors"), "--format", "torchscript"]
    assert main(arguments) == 1
    assert "of the pixels are the same, wanted 110.00%" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.torchscript.parity.json"]
    assert main([*arguments, "--force"]) == 1
    assert (tmp_path / "tiny.torchscript").exists()


def test_eight_bits_are_calibrated_and_measured_as_a_checkpoint_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    save(tmp_path / "tiny.safetensors", VOC_CLASSES)
    entry = {"format": "voc", "root": str(VOC_MINI), "masks": "SegmentationClass"}
    splits = {
        "train": [entry | {"image_set": "Main/trainval"}],
        "val": [entry | {"image_set": "Segmentation/trainval"}],
    }
    (tmp_path / "data.yaml").write_text(yaml.safe_dump({"classes": "voc", **splits}))
    arguments = ["export", "tiny.safetensors", "--format", "openvino", "--precision", "int8"]
    arguments += ["--calibrate", "data.yaml", "--data", "data.yaml", "--force"]
    code = main(arguments)
    report = json.loads((tmp_path / "tiny-int8.xml.parity.json").read_text())
    assert code == (0 if report["passed"] else 1)
    assert report["raw"]["class_logits"]["largest"] > 0
    assert list(report["metrics"]) == ["mAP (VOC07)", "mAP (VOC12)", "mAP (COCO)", "mIoU"]
    _, exported = report["metrics"]["mIoU"]
    assert open_exported(tmp_path / "tiny-int8.xml").info.precision == "int8"
    assert not list(tmp_path.glob(".blitznet-*"))

    measure = ["eval", "tiny-int8.xml", "--data", "data.yaml", "--workers", "0", "--device", "cpu"]
    assert main(measure) == 0
    metrics = json.loads((tmp_path / "runs/eval/metrics.json").read_text())
    assert metrics["mean_iou"] == exported
