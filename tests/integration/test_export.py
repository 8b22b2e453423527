"""Exported files agree with the checkpoint, in our commands and in scripts without blitznet."""

import json
import re
import subprocess
import sys
from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import yaml

from blitznet.classes import VOC_CLASSES
from blitznet.cli import main
from blitznet.detection.limits import Limits
from blitznet.errors import InputError
from blitznet.exporting.export import export
from blitznet.exporting.parity import TOLERANCES
from blitznet.inference.engines.choose import open_engine
from blitznet.inference.engines.engine import Engine
from blitznet.inference.predictor import load
from blitznet.model.checkpoint import save_checkpoint
from blitznet.model_files import CheckpointInfo, ExportInfo
from fixtures.make_fixtures import VOC_MINI
from tiny_network import NAMES, SIZE, tiny_config, tiny_model

LIMITS = Limits(score=0.2)  # an untrained network gives every class about a quarter
DOCS = Path(__file__).parents[2] / "docs/export.md"


def save(path: Path, names: tuple[str, ...] = NAMES, **overrides: object) -> Path:
    model = tiny_model(num_classes=len(names), **overrides)
    training = {"data": "none", "licence": "free"}
    save_checkpoint(path, model, CheckpointInfo(model=model.config, names=names, training=training))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A checkpoint, and a file of each format made from it."""
    folder = tmp_path_factory.mktemp("export")
    checkpoint = save(folder / "tiny.safetensors")
    export(checkpoint, folder / "tiny.onnx", limits=LIMITS)
    export(checkpoint, folder / "tiny-fp16.onnx", limits=LIMITS, precision="fp16")
    export(checkpoint, folder / "tiny.xml", format="openvino", limits=LIMITS)
    return folder


@pytest.fixture(
    params=[
        ("tiny.onnx", "onnxruntime"),
        ("tiny.onnx", "openvino"),
        ("tiny-fp16.onnx", "onnxruntime"),
        ("tiny.xml", "openvino"),
    ],
    ids="-".join,
)
def engine(folder: Path, request: pytest.FixtureRequest) -> Engine:
    name, engine = request.param
    return open_engine(folder / name, engine, "cpu")


def noise(count: int) -> np.ndarray:
    return np.random.default_rng(count).integers(0, 256, (count, SIZE, SIZE, 3), dtype=np.uint8)


@pytest.mark.slow
@pytest.mark.parametrize("count", [1, 7])
def test_a_file_gives_what_the_checkpoint_gives_for_any_number_of_images(
    folder: Path, engine: Engine, count: int
) -> None:
    pixels = noise(count)
    expected = open_engine(folder / "tiny.safetensors", "torch", "cpu").run(pixels, 0.27)
    found = engine.run(pixels, 0.27)
    assert found.detections is not None
    assert found.seg_logits is not None
    # Other orders of summation: a few units in the last place of logits near 1; fp16 has ten bits.
    tolerance = 1e-2 if engine.info.precision == "fp16" else 1e-4  # type: ignore[attr-defined]
    np.testing.assert_allclose(found.seg_logits, expected.seg_logits, atol=tolerance)
    for wanted, given in zip(expected.detections or (), found.detections, strict=True):
        assert len(given.labels) > 10
        # Some may be at the threshold.
        assert abs(len(wanted.labels) - len(given.labels)) <= (1 if tolerance < 1e-3 else 10)
        both = min(len(wanted.labels), len(given.labels))
        np.testing.assert_allclose(given.scores[:both], wanted.scores[:both], atol=tolerance)


@pytest.mark.slow
def test_a_file_says_what_the_checkpoint_says(engine: Engine) -> None:
    info = engine.info
    assert isinstance(info, ExportInfo)
    assert info.names == NAMES
    assert info.model == tiny_config()
    assert info.training["licence"] == "free"
    assert (info.score, info.iou, info.top) == LIMITS[:3]
    assert info.outputs == ("boxes", "scores", "labels", "count", "seg_logits")


@pytest.mark.slow
def test_a_network_of_one_task_lacks_the_outputs_of_the_other(tmp_path: Path) -> None:
    for missing, outputs in (("detect", ("seg_logits",)), ("segment", ("boxes", "scores"))):
        checkpoint = save(tmp_path / f"no-{missing}.safetensors", **{missing: False})
        path = export(checkpoint, tmp_path / f"no-{missing}.onnx", limits=LIMITS).path
        engine = open_engine(path, "onnxruntime", "cpu")
        assert isinstance(engine.info, ExportInfo)
        assert engine.info.outputs[:2] == outputs
        found = engine.run(noise(2), 0.5)
        assert (found.detections is None) == (missing == "detect")
        assert (found.seg_logits is None) == (missing == "segment")


@pytest.mark.slow
def test_a_segmentation_map_is_given_out_where_it_is_asked_for(tmp_path: Path) -> None:
    import onnxruntime
    import torch

    model = tiny_model()
    export(model, tmp_path / "map.onnx", limits=LIMITS, seg_map=True)
    session = onnxruntime.InferenceSession(tmp_path / "map.onnx")
    *_, seg_logits, seg_map = session.run(None, {"images": noise(2)})
    assert (seg_map.shape, seg_map.dtype) == ((2, SIZE, SIZE), np.uint8)
    resized = torch.nn.functional.interpolate(
        torch.from_numpy(seg_logits), size=(SIZE, SIZE), mode="bilinear"
    )
    assert np.mean(resized.argmax(dim=1).numpy() == seg_map) > 0.999
    assert open_engine(tmp_path / "map.onnx", "openvino", "cpu").run(noise(1), 0.5).detections


@pytest.mark.slow
def test_the_verbs_take_a_file_as_they_take_a_checkpoint(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    image = str(VOC_MINI / "JPEGImages/000001.jpg")
    lines = []
    for name, engine in (("tiny.safetensors", "torch"), ("tiny.onnx", "onnxruntime")):
        arguments = ["--engine", engine, "--model", str(folder / name), "--score", "0.3"]
        arguments += ["--no-draw", "--save-masks", "--out", name, "--device", "cpu"]
        assert main(["predict", image, *arguments]) == 0
        lines.append(json.loads(Path(name, "predictions.jsonl").read_text()))
    checkpoint, exported = lines
    assert exported["pixels"] == checkpoint["pixels"]
    assert len(exported["detections"]) == len(checkpoint["detections"])
    names = ("tiny.safetensors", "tiny.onnx")
    masks = [Path(name, "masks/000001.png").read_bytes() for name in names]
    assert masks[0] == masks[1]


@pytest.mark.slow
def test_a_checkpoint_is_converted_once_for_an_engine_of_files(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BLITZNET_CACHE", str(tmp_path))
    lines: list[str] = []
    convert = partial(
        open_engine, folder / "tiny.safetensors", "onnxruntime", "cpu", on_message=lines.append
    )
    for _ in range(2):
        engine = convert()
        assert engine.run(noise(1), 0.5).detections is not None
    assert lines == ["converting tiny.safetensors to ONNX; the file is cached"]
    [cached] = tmp_path.rglob("*.onnx")
    assert not list(tmp_path.rglob("*.part"))
    cached.write_bytes(cached.read_bytes()[:1000])  # as a full disk may leave it
    engine = convert()
    assert engine.run(noise(1), 0.5).detections is not None
    assert len(lines) == 2


@pytest.mark.slow
def test_the_script_of_the_docs_runs_without_torch_and_without_us(tmp_path: Path) -> None:
    checkpoint = save(tmp_path / "tiny.safetensors")
    export(checkpoint, tmp_path / "tiny.onnx", limits=LIMITS, seg_map=True)
    script = re.findall(r"```python\n(.*?)```", DOCS.read_text(), flags=re.DOTALL)[0]
    script = script.replace("blitznet300-mobile.onnx", "tiny.onnx")
    script = script.replace("street.jpg", str(VOC_MINI / "JPEGImages/000001.jpg"))
    script += "\nimport sys; print(sorted({'torch', 'blitznet', 'onnx'} & sys.modules.keys()))"
    run = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert run.returncode == 0, run.stderr
    *objects, modules = run.stdout.splitlines()
    assert modules == "[]"
    assert all(line.split()[0] in NAMES for line in objects[:-1])


@pytest.mark.slow
def test_a_file_that_differs_too_much_is_not_kept_unless_it_is_forced(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert json.loads((folder / "tiny.onnx.parity.json").read_text())["passed"] is True
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(TOLERANCES, "fp32", replace(TOLERANCES["fp32"], pixels=1.1))
    arguments = ["export", str(folder / "tiny.safetensors"), "--score", "0.2"]
    assert main(arguments) == 1
    assert "of the pixels are the same, wanted 110.00%" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["tiny.onnx.parity.json"]
    assert main([*arguments, "--force"]) == 1
    assert (tmp_path / "tiny.onnx").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"format": "tflite"}, "no format is called 'tflite'; choose from onnx, openvino"),
        ({"precision": "int8"}, "onnx files have no precision 'int8'; they have fp32, fp16"),
        ({"format": "openvino", "precision": "int8"}, "add --calibrate DATA.yaml"),
        ({"calibrate": Path("data.yaml")}, "--calibrate is for int8, not for fp32"),
        ({"out": "a.pt"}, r"onnx files end in \.onnx; call it a\.onnx"),
        ({"out": "there.onnx"}, "already exists; give another --out FILE"),
        ({"limits": Limits(0.5), "data": Path("d.yaml")}, "none below 0.5; leave out --score"),
    ],
)
def test_what_does_not_fit_together_is_said_first(
    options: dict[str, object], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("there.onnx").touch()
    with pytest.raises(InputError, match=message):
        export("blitznet300-mobile", **options)  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.iterdir()] == ["there.onnx"]


@pytest.mark.slow
def test_eight_bits_are_calibrated_and_measured_as_a_checkpoint_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(TOLERANCES, "int8", replace(TOLERANCES["int8"], pixels=1.1))
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
    assert report["largest_difference"] > 0
    assert list(report["metrics"]) == ["mAP (VOC07)", "mAP (VOC12)", "mAP (COCO)", "mIoU"]
    _, exported = report["metrics"]["mIoU"]
    info = open_engine(tmp_path / "tiny-int8.xml", "openvino").info
    assert isinstance(info, ExportInfo)
    assert info.precision == "int8"
    assert info.caution is not None
    assert re.match(
        r"int8 differs from float32: on \d calibration images, \S+% of the pixels are the same, "
        r"wanted 110\.00%; calibrate it with images like those it will see",
        info.caution,
    )
    told: list[str] = []
    load("tiny-int8.xml", "cpu", "openvino", on_message=told.append)
    assert told == [f"openvino: {info.caution}"]
    assert f"blitznet: {info.caution}\n" in capsys.readouterr().err
    assert not list(tmp_path.glob(".blitznet-*"))

    measure = ["eval", "tiny-int8.xml", "--data", "data.yaml", "--workers", "0", "--device", "cpu"]
    assert main(measure) == 0
    metrics = json.loads((tmp_path / "runs/eval/metrics.json").read_text())
    assert metrics["mean_iou"] == exported
