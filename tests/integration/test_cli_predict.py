"""The commands predict, models and demo."""

import json
import os
import shutil
import signal
import subprocess
import sys
from io import BytesIO, TextIOWrapper
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

import blitznet
import blitznet.inference.demo
import blitznet.model.checkpoint
from blitznet.classes import voc_palette
from blitznet.cli import main
from blitznet.inference.demo import demo_images
from blitznet.inference.engines.choose import AUTO_ORDER
from blitznet.inference.engines.torch_engine import TorchEngine
from blitznet.model_files import NetworkFiles, find_network
from result_files import files_in, read_records

RUN_FILES = ["predictions.jsonl", "settings.json"]


@pytest.fixture
def album(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with images in `album`."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "album").mkdir()
    for index, name in enumerate(["a.jpg", "b.png", "c.webp"]):
        save_noise(tmp_path / "album" / name, width=40 + 10 * index)
    return tmp_path


def save_noise(path: Path, width: int = 50) -> None:
    path.parent.mkdir(exist_ok=True)
    pixels = np.random.default_rng(width).integers(0, 256, (36, width, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)


def predict(checkpoint: str, *arguments: str) -> int:
    return main(["predict", "--model", checkpoint, "--device", "cpu", *arguments])


def complaints(capsys: pytest.CaptureFixture[str]) -> list[str]:
    lines = capsys.readouterr().err.splitlines()
    assert all(line.startswith("blitznet: ") for line in lines), lines
    return [line.removeprefix("blitznet: ") for line in lines]


@pytest.mark.usefixtures("album")
def test_a_folder_gives_drawn_images_and_a_line_each(
    checkpoint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict(checkpoint, "album", "--score", "0.2") == 0
    assert files_in("runs/predict") == ["a.jpg", "b.jpg", "c.jpg", *RUN_FILES]
    for name, width in [("a", 40), ("b", 50), ("c", 60)]:
        with Image.open(f"runs/predict/{name}.jpg") as drawn:
            assert (drawn.format, drawn.size) == ("JPEG", (width, 36))
    output = capsys.readouterr()
    assert output.err == ""
    assert output.out.splitlines()[-1] == "3 of 3 images done, results in runs/predict"
    assert output.out.startswith(f"{Path('album/a.jpg')}: ")


@pytest.mark.usefixtures("album")
def test_the_records_are_those_of_the_contract(checkpoint: str) -> None:
    assert predict(checkpoint, "album/c.webp", "album/a.jpg", "--score", "0.2") == 0
    first, second = read_records("runs/predict")
    assert [first["source"], second["source"]] == ["album/c.webp", "album/a.jpg"]
    assert " ".join(first) == "source width height detections pixels seg_map drawn ms"
    assert [first["drawn"], second["drawn"]] == ["c.jpg", "a.jpg"]
    assert " ".join(first["detections"][0]) == "label label_id score box"
    assert (first["width"], first["height"], first["seg_map"]) == (60, 36, None)
    assert list(first["ms"]) == ["read", "network", "post", "write"]
    scene = blitznet.load(checkpoint, device="cpu").predict("album/c.webp", score=0.2)
    assert len(scene.boxes) > 0
    assert {key: first[key] for key in ("detections", "pixels")} == {
        key: scene.to_dict()[key] for key in ("detections", "pixels")
    }


@pytest.mark.usefixtures("album")
def test_masks_are_class_ids_with_the_voc_palette(checkpoint: str) -> None:
    assert predict(checkpoint, "album", "--save-masks", "--no-draw", "--out", "out") == 0
    assert files_in("out") == ["masks/a.png", "masks/b.png", "masks/c.png", *RUN_FILES]
    predictor = blitznet.load(checkpoint, device="cpu")
    for record in read_records("out"):
        with Image.open(Path("out") / record["seg_map"]) as mask:
            assert mask.mode == "P"
            assert mask.getpalette()[:12] == voc_palette()[:4].ravel().tolist()
            np.testing.assert_array_equal(mask, predictor.predict(record["source"]).seg_map)


@pytest.mark.usefixtures("album")
def test_a_dash_is_a_list_or_an_image_on_standard_input(
    checkpoint: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    content = Path("album/b.png").read_bytes()
    for stdin, names in [
        (b"album/b.png\nalbum/a.jpg\n", ["album/c.webp", "album/b.png", "album/a.jpg"]),
        (content, ["album/c.webp", "stdin"]),
    ]:
        monkeypatch.setattr(sys, "stdin", TextIOWrapper(BytesIO(stdin)))
        assert predict(checkpoint, "album/c*", "-", "--batch", "2", "-o", "out", "--overwrite") == 0
        assert [record["source"] for record in read_records("out")] == names
    assert Path("out/stdin.jpg").is_file()
    monkeypatch.setattr(sys, "stdin", None)  # closed, as of some services
    assert predict(checkpoint, "album/b.png", "-o", "out", "--overwrite") == 0


@pytest.mark.usefixtures("album")
def test_a_filter_shows_less(checkpoint: str, capsys: pytest.CaptureFixture[str]) -> None:
    few = ("--score", "0.1", "--classes", "red,blue", "--iou", "0.2", "--max-detections", "3")
    assert predict(checkpoint, "album", "--no-draw", "--quiet", *few, "--out", "out") == 0
    assert capsys.readouterr() == ("", "")
    records = read_records("out")
    found = [one["label"] for record in records for one in record["detections"]]
    assert set(found) <= {"red", "blue"}
    assert max(len(record["detections"]) for record in records) == 3
    assert all(set(record["pixels"]) <= {"background", "red", "blue"} for record in records)


@pytest.mark.usefixtures("album")
def test_a_training_runs_folder_is_a_model(
    checkpoint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("run").mkdir()
    assert predict("run", "album/a.jpg") == 1
    (line,) = complaints(capsys)
    assert line.startswith("run: this folder holds no network (model.onnx, ")
    Path("run/run.json").touch()
    assert predict("run", "album/a.jpg") == 1
    assert complaints(capsys) == [
        "run is a run without a network yet; continue it with blitznet train --resume run"
    ]
    for name in ("last", "best", "model"):
        shutil.copy(checkpoint, f"run/{name}.safetensors")
        assert find_network("run").checkpoint == Path(f"run/{name}.safetensors")
    assert predict("run", "album/a.jpg") == 0


@pytest.mark.usefixtures("album")
def test_nothing_is_replaced_unless_asked_and_the_images_themselves_never(
    checkpoint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    for _ in range(3):
        assert predict(checkpoint, "album/a.jpg", "--no-draw") == 0
    assert {path.name for path in Path("runs").iterdir()} == {"predict", "predict-2", "predict-3"}
    Path("out").mkdir()
    assert predict(checkpoint, "album/a.jpg", "--out", "out") == 0  # empty: fine
    assert predict(checkpoint, "album", "--out", "out") == 1
    assert complaints(capsys) == ["out: not empty; name another folder, or add --overwrite"]
    assert len(read_records("out")) == 1
    assert predict(checkpoint, "album", "--out", "out", "--overwrite") == 0
    assert len(read_records("out")) == 3
    before = Path("album/a.jpg").read_bytes()
    assert predict(checkpoint, "album", "--out", "album", "--overwrite") == 0
    assert Path("album/a.jpg").read_bytes() == before
    assert "a-2.jpg" in files_in("album")


def test_wrong_images_get_a_line_each_and_the_others_are_done(
    checkpoint: str, album: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = (album / "album/a.jpg").read_bytes()
    (album / "album/cut.jpg").write_bytes(content[: len(content) // 2])
    (album / "album/text.jpg").write_text("no image")
    (album / "empty").mkdir()
    assert predict(checkpoint, "gone.jpg", "empty", "*.gif", "album", "--batch", "2") == 1
    lines = complaints(capsys)
    broken = [str(Path("album") / name) for name in ("cut.jpg", "text.jpg")]
    assert [line.split(":")[0] for line in lines] == ["gone.jpg", "empty", "*.gif", *broken]
    done = [Path(record["source"]).name for record in read_records("runs/predict")]
    assert done == ["a.jpg", "b.png", "c.webp"]


@pytest.mark.usefixtures("album")
@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["gone.jpg"], "gone.jpg: no such file or folder"),
        (["--model", "nonsense"], "no network or file is called 'nonsense'"),
        (["--out", "album/a.jpg"], "album/a.jpg is a file; name a folder"),
        (["--out", "album"], "album: not empty"),
        (["--device", "toaster"], "a device is auto, cpu, cuda"),
        (["--engine", "warp"], "no engine is called 'warp'; choose from auto, onnxruntime, "),
        (["--classes", "rde"], "no class is called 'rde'; this network has red, green, blue"),
        (["--format", "kitti"], "no label format is called 'kitti'; choose from coco, voc, yolo"),
    ],
)
def test_wrong_settings_are_found_before_the_network_is_loaded(
    checkpoint: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
    arguments: list[str],
    line: str,
) -> None:
    monkeypatch.setattr(blitznet.inference.predictor, "open_engine", lambda *_: 1 / 0)
    source = [] if arguments == ["gone.jpg"] else ["album/b.png"]
    assert predict(checkpoint, *source, *arguments) == 1
    (only,) = complaints(capsys)
    assert only.startswith(line)
    assert files_in(".") == ["album/a.jpg", "album/b.png", "album/c.webp"]


@pytest.mark.usefixtures("album")
@pytest.mark.parametrize(
    "arguments",
    [
        ["predict"],
        ["predict", "a", "--score", "2"],
        ["predict", "a", "--score", "nan"],
        ["predict", "a", "--max-megapixels", "inf"],
        ["predict", "a", "--batch", "0"],
        ["serve", "--max-mb", "inf"],
        ["fly"],
    ],
)
def test_wrong_usage_is_exit_code_2(
    arguments: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(arguments) == 2
    assert "Usage: blitznet" in capsys.readouterr().err


@pytest.mark.usefixtures("album")
def test_what_loading_finds_is_one_line_and_leaves_nothing_behind(
    checkpoint: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    for arguments, line in [
        (["--model", "album/a.jpg"], "album/a.jpg is not a readable safetensors file"),
        (["--device", "cuda"], "no device cuda: PyTorch finds no CUDA device"),
        (["--out", "album/a.jpg/inside"], "album/a.jpg/inside: cannot be written"),
    ]:
        assert predict(checkpoint, "album", *arguments) == 1
        (only,) = complaints(capsys)
        assert only.startswith(line)
    assert files_in(".") == ["album/a.jpg", "album/b.png", "album/c.webp"]


@pytest.mark.usefixtures("album")
def test_what_auto_chose_is_said_and_what_was_asked_for_is_not(
    checkpoint: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(AUTO_ORDER, "cpu", ("torch",))
    assert predict(checkpoint, "album/a.jpg", "--engine", "auto") == 0
    assert complaints(capsys) == ["runs on torch (cpu)"]
    assert predict(checkpoint, "album/a.jpg", "--engine", "torch") == 0
    assert complaints(capsys) == []


@pytest.mark.usefixtures("album")
def test_resuming_needs_the_folder(checkpoint: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert predict(checkpoint, "album/a.jpg", "--resume") == 2
    assert "--resume continues earlier results; name their" in capsys.readouterr().err
    assert not Path("runs").exists()


@pytest.mark.usefixtures("album")
def test_an_interrupted_run_says_how_many_are_done_and_is_resumed(
    checkpoint: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    run = TorchEngine.run
    calls = 0

    def interrupted(self: TorchEngine, *arguments: Any) -> object:
        nonlocal calls
        calls += 1
        if calls == 3:
            raise KeyboardInterrupt
        return run(self, *arguments)

    arguments = ("album", "--batch", "1", "--out", "out", "--resume")
    with monkeypatch.context() as patch:
        patch.setattr(TorchEngine, "run", interrupted)
        assert predict(checkpoint, *arguments) == 130
    (line,) = complaints(capsys)
    done = [record["source"] for record in read_records("out")]
    assert done == ["album/a.jpg", "album/b.png"][: len(done)]
    counted = f"{len(done)} of 3 images done"
    assert line == f"stopped: {counted}, results in out; continue with --out out --resume"
    assert predict(checkpoint, *arguments) == 0
    before = f" ({len(done)} before)" if done else ""
    last = capsys.readouterr().out.splitlines()[-1]
    assert last == f"3 of 3 images done{before}, results in out"
    names = [record["source"] for record in read_records("out")]
    assert names == ["album/a.jpg", "album/b.png", "album/c.webp"]
    assert predict(checkpoint, *arguments, "--score", "0.3") == 1
    assert "made with score 0.5, this run has 0.3" in complaints(capsys)[0]


@pytest.mark.usefixtures("album")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_after_the_last_image_changes_nothing(
    checkpoint: str, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    lines = []

    def print_and_raise(line: object) -> None:
        lines.append(str(line))
        if "images done" in lines[-1]:
            signal.raise_signal(number)

    monkeypatch.setattr("blitznet.cli.predict.print_line", print_and_raise)
    before = signal.getsignal(number)
    assert predict(checkpoint, "album", "--out", "out") == 0
    assert lines[-1] == "3 of 3 images done, results in out"
    assert signal.getsignal(number) is before


@pytest.mark.slow
@pytest.mark.timeout(300)
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for one process")
def test_three_real_signals_lose_nothing(tmp_path: Path) -> None:
    tool = Path(__file__).parents[2] / "tools" / "interrupt.py"
    command = [sys.executable, tool, "--interruptions", "3", "--images", "12", "--out", "seen.json"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    assert json.loads((tmp_path / "seen.json").read_text())["interruptions"] == 3


def test_help_and_version_do_not_import_anything_heavy() -> None:
    code = (
        "import sys, blitznet.cli;"
        "assert blitznet.cli.main(['--version']) == 0;"
        "assert blitznet.cli.main(['predict', '--help']) == 0;"
        "heavy = {'torch', 'numpy', 'PIL', 'timm', 'torchvision', 'yaml'};"
        "sys.exit(sorted(heavy & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (1, "[]\n")  # sys.exit prints the list
    assert done.stdout.startswith(f"blitznet {blitznet.__version__}\n")


def test_models_shows_how_each_network_was_trained_and_how_good_it_is(
    checkpoint: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    bundled = {"blitznet300-mobile": NetworkFiles(exported=None, checkpoint=Path(checkpoint))}
    monkeypatch.setattr(blitznet.model_files, "bundled_networks", lambda: bundled)
    assert main(["models"]) == 0
    table = capsys.readouterr().out
    for text in ("blitznet300-mobile", "default", "mAP (voc07) 50.0", "mIoU 25.0", "free", "steps"):
        assert text in table
    assert main(["models", "--json"]) == 0
    (record,) = json.loads(capsys.readouterr().out)
    assert record["name"] == "blitznet300-mobile"
    assert record["bytes"] == Path(checkpoint).stat().st_size
    assert record["metrics"]["toy val"]["mean_iou"] == 0.25
    assert record["model"]["image_size"] == 64


def test_the_demo_shows_what_it_finds_in_scikit_images_photographs(
    checkpoint: str, album: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("skimage")
    arguments = ["demo", "--model", checkpoint, "--device", "cpu"]
    assert main(arguments) == 0
    output = capsys.readouterr().out
    for text in ("chelsea.png: ", "astronaut.png: "):
        assert text in output
    assert output.endswith(f"6 of 6 images done, results in {(album / 'runs/demo').resolve()}\n")
    assert {"chelsea.jpg", "astronaut.jpg", "predictions.jsonl"} <= set(files_in("runs/demo"))


def test_the_demo_without_scikit_image_has_two_photos(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blitznet.inference.demo, "find_spec", lambda _: None)
    assert [path.name for path in demo_images()] == ["astronaut.jpg", "chelsea.jpg"]
    assert all(path.is_file() for path in demo_images())
