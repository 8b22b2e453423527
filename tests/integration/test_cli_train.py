"""The commands train and eval on drawn images."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from PIL import Image
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

import blitznet.extras
from blitznet.classes import VOC_CLASSES
from blitznet.cli import main
from blitznet.inference.predictor import load
from blitznet.model.blitznet import BlitzNet
from blitznet.model.checkpoint import save_checkpoint
from blitznet.model_files import CheckpointInfo, read_info
from blitznet.training import loop_options
from blitznet.training.run_record import read_run
from blitznet.training.validation import read_validation
from fixtures.make_fixtures import VOC_MINI, describe
from fixtures.tiny_run import read_log, tiny_recipe

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*does not have many workers:UserWarning"),
    pytest.mark.usefixtures("without_onnx"),
]


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with data.yaml and recipe.yaml."""
    monkeypatch.chdir(tmp_path)
    describe(tmp_path / "data.yaml")
    (tmp_path / "recipe.yaml").write_text(yaml.safe_dump(tiny_recipe().model_dump(mode="json")))
    return tmp_path


def train(*arguments: str) -> int:
    return main(["train", "--device", "cpu", "--workers", "0", *arguments])


def test_training_leaves_a_measured_network_that_predicts_and_evaluates(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("recipe.yaml", "--data", "data.yaml", "--set", "steps=4") == 0
    run = workplace / "runs/train/tiny"
    metrics = json.loads((run / "metrics.json").read_text())
    info = read_info(run / "model.safetensors")
    assert info.metrics["val"]["mean_iou"] == metrics["mean_iou"]
    assert info.recipe["steps"] == 4
    assert info.training["recipe"] == "tiny"
    assert [row["step"] for row in read_log(run)] == ["4"]
    assert (run / "model.onnx").is_file()
    assert {"index.html", "curves.png", "confusion_boxes.png"} <= {
        path.name for path in (run / "report").iterdir()
    }

    model = str(run / "model.safetensors")
    assert main(["eval", model, "--data", "data.yaml", "--workers", "0", "--device", "cpu"]) == 0
    again = json.loads((workplace / "runs/eval/metrics.json").read_text())
    for figure in ("pictures", "classes", "mean_ap", "ap", "mean_iou", "iou"):
        assert again[figure] == metrics[figure]
    described = ("--data", "data.yaml", "--workers", "0", "--device", "cpu", "--out", "reported")
    assert main(["eval", model, *described, "--report"]) == 0
    assert (workplace / "reported/index.html").is_file()
    assert json.loads((workplace / "reported/metrics.json").read_text())["ap"] == metrics["ap"]
    with load(model, engine="torch", device="cpu") as predictor:
        scene = predictor.predict(VOC_MINI / "JPEGImages/000001.jpg")
    assert scene.seg_map is not None


@pytest.mark.usefixtures("without_report")
def test_a_run_stopped_in_time_says_how_to_go_on_and_goes_on(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert train("recipe.yaml", "--data", "data.yaml", "--out", "run", "--max-minutes", "0") == 0
    assert "blitznet train --resume run" in capsys.readouterr().out
    assert not (workplace / "run/model.safetensors").exists()
    assert train("--resume", "run", "--devices", "3") == 1
    assert "cannot be shared by 3 devices" in capsys.readouterr().err
    assert train("--resume", "run") == 0
    assert "No report: the report needs matplotlib" in capsys.readouterr().out
    assert [row["step"] for row in read_log(workplace / "run")] == ["1", "6"]
    assert (workplace / "run/model.safetensors").exists()

    assert train("--resume", "run") == 1
    assert "run is finished" in capsys.readouterr().err


@pytest.mark.usefixtures("without_report")
def test_a_run_is_measured_while_it_goes_on_and_at_its_end(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--out", "run", "--validate-every", "4")
    assert train("recipe.yaml", "--data", "data.yaml", *arguments) == 0
    run = workplace / "run"
    metrics = json.loads((run / "metrics.json").read_text())
    rows = read_validation(run)
    assert [row["step"] for row in rows] == [4, 6]
    assert rows[-1]["mean_iou"] == metrics["mean_iou"]
    assert read_info(run / "last.safetensors") == read_info(run / "model.safetensors")
    best = max(rows, key=lambda row: row["score"] or 0)
    assert read_info(run / "best.safetensors").training["steps"] == best["step"]


@pytest.mark.usefixtures("without_report")
def test_a_run_that_stops_early_says_so_and_measures_the_best(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = ("--validate-every", "1", "--early-stopping", "1", "--out", "run")
    settings = ("--set", "lr=1e-12", "--set", "ema_decay=0.999999", "--set", "steps=50")
    assert train("recipe.yaml", "--data", "data.yaml", *arguments, *settings) == 0
    rows = read_validation(workplace / "run")
    last, best = (f"{row['step']:.0f}" for row in (rows[-1], rows[-2]))
    assert (
        f"Stopped early at step {last} of 50: no improvement in 1 validation; "
        f"the network is that of step {best}"
    ) in capsys.readouterr().out
    metrics = json.loads((workplace / "run/metrics.json").read_text())
    assert metrics["mean_iou"] == rows[-2]["mean_iou"]
    assert len(rows) == int(last)
    assert train("--resume", "run") == 1
    assert "run is finished" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["nothing", "--data", "data.yaml"], "no recipe or file is called 'nothing'"),
        (["recipe.yaml", "--data", "no.yaml"], "no.yaml does not exist"),
        (
            ["recipe.yaml", "--data", "data.yaml", "--set", "model.num_classes=3"],
            "use --set model.num_classes=21",
        ),
        (["recipe.yaml", "--data", "data.yaml", "--set", "lr=-1"], "lr: "),
        (["recipe.yaml", "--data", "data.yaml", "--device", "tpu"], "not 'tpu'"),
        (["--resume", "nowhere"], "nowhere holds no run"),
        (
            ["recipe.yaml", "--data", "data.yaml", "--set", "accumulate=3"],
            "a global batch of 4 images cannot be shared by 1 devices in 3 parts each",
        ),
        (
            ["recipe.yaml", "--data", "data.yaml", "--early-stopping", "2", "--validate-every=0"],
            "--early-stopping needs validations, and there are none",
        ),
    ],
)
def test_wrong_input_of_train_gets_one_line(
    workplace: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], line: str
) -> None:
    assert train(*arguments) == 1
    error = capsys.readouterr().err.strip()
    assert line in error
    assert error.startswith("blitznet: ")
    assert "\n" not in error


def test_training_without_its_extra_names_the_command_that_installs_it(
    workplace: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blitznet.extras, "find_spec", lambda _: None)
    assert train("recipe.yaml", "--data", "data.yaml") == 1
    error = capsys.readouterr().err
    assert "training needs lightning_fabric, which is not installed" in error
    assert "pip install 'blitznet[train]'" in error


@pytest.mark.usefixtures("without_report")
def test_tensorboard_gets_the_log_and_the_validations_of_a_run_and_of_its_resumption(
    workplace: Path,
) -> None:
    arguments = ("--tensorboard", "--validate-every", "4")
    start = ("recipe.yaml", "--data", "data.yaml", "--out", "run", "--max-minutes", "0")
    assert train(*start, *arguments) == 0
    assert train("--resume", "run", *arguments) == 0
    events = EventAccumulator(str(workplace / "run/tensorboard"))
    events.Reload()

    def points(tag: str) -> list[tuple[int, float]]:
        return [(event.step, event.value) for event in events.Scalars(tag)]

    log, validations = read_log(workplace / "run"), read_validation(workplace / "run")
    assert [step for step, _ in points("loss/box")] == [1, 4, 6]
    boxes = [(int(row["step"]), pytest.approx(float(row["box"]), rel=1e-6)) for row in log]
    assert points("loss/box") == boxes
    scores = [(row["step"], pytest.approx(row["score"], rel=1e-6)) for row in validations]
    assert points("val/score") == scores
    assert [step for step, _ in scores] == [4, 6]


def test_tensorboard_without_its_package_is_told_before_the_training(
    workplace: Path, capsys: pytest.CaptureFixture[str], hide_package: Callable[[str], None]
) -> None:
    hide_package("tensorboard")
    assert train("recipe.yaml", "--data", "data.yaml", "--out", "run", "--tensorboard") == 1
    assert capsys.readouterr().err == (
        "blitznet: --tensorboard needs tensorboard, which is not installed; "
        "run: pip install 'blitznet[tensorboard]'\n"
    )
    assert not (workplace / "run").exists()


@pytest.mark.usefixtures("without_report")
def test_without_a_recipe_the_bundled_network_goes_on_learning(workplace: Path) -> None:
    little = ("steps=1", "global_batch_size=2", "model.image_size=64")
    settings = [part for setting in little for part in ("--set", setting)]
    assert train("--data", "data.yaml", *settings) == 0
    info = read_info(workplace / "runs" / "train" / "modern" / "model.safetensors")
    assert info.recipe["start_from"] == "blitznet300-mobile"
    assert info.model.pad_same  # as the bundled one


@pytest.mark.usefixtures("without_report")
def test_what_people_type_first_sets_steps_batch_and_size(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    typed = ("--epochs", "1.5", "--batch", "3", "--imgsz", "72", "--max-minutes", "0", "--quiet")
    assert train("recipe.yaml", "--data", "data.yaml", "--out", "run", *typed) == 0
    assert capsys.readouterr() == ("", "")
    recipe, _ = read_run(workplace / "run")
    assert (recipe.steps, recipe.global_batch_size, recipe.model.image_size) == (3, 3, 72)
    typed = ("--steps", "2", "--max-minutes", "0", "--quiet")
    assert train("recipe.yaml", "--data", "data.yaml", "--out", "other", *typed) == 0
    assert read_run(workplace / "other")[0].steps == 2


def test_recipes_are_listed_and_printed(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["recipe"]) == 0
    listed = capsys.readouterr().out
    assert listed.startswith(
        "modern: blitznet300-mobile, 300 pixels, from blitznet300-mobile, 3500 steps of 16 images\n"
    )
    assert "voc07-blitznet300-s4" in listed
    assert main(["recipe", "modern"]) == 0
    assert yaml.safe_load(capsys.readouterr().out)["steps"] == 3500
    assert main(["recipe", "nothing"]) == 1
    assert "no recipe or file is called 'nothing'; recipes: modern" in capsys.readouterr().err


MISTAKES = {
    "train nothing --data data.yaml": "no recipe or file is called 'nothing'",
    "train data.yaml": "not a recipe but describes data; give it with --data data.yaml",
    "train --data data.yaml --set epochs=3": "did you mean steps",
    "train --data data.yaml --set start_from=x": "no network or file is called 'x'",
    "train --data format.yaml": "'cocco'",
    "train --data data.yaml --out .": "not empty",
    "train --resume .": "holds no run",
    "eval x --data data.yaml": "no network or file is called 'x'",
    "eval blitznet300-mobile --data x.yaml": "x.yaml does not exist",
    "eval blitznet300-mobile --data data.yaml --split x": "no split 'x'",
    "eval blitznet300-mobile --data data.yaml --classes x": "no class is called 'x'",
    "train --data data.yaml --device x": "not 'x'",
    "eval blitznet300-mobile --data data.yaml --engine x": "no engine is called 'x'",
    "eval blitznet300-mobile --data data.yaml --device x": "not 'x'",
    "eval blitznet300-mobile --data data.yaml --submission x": "no server is called 'x'",
    "eval blitznet300-mobile --data data.yaml --out .": "not empty",
    "export x": "no network or file is called 'x'",
    "export blitznet300-mobile --format x": "no format is called 'x'",
    "export blitznet300-mobile --precision x": "no precision 'x'",
    "export blitznet300-mobile --format openvino --precision int8": "add --calibrate",
    "export blitznet300-mobile --format openvino --precision int8 --calibrate x.yaml": "not exist",
    "export blitznet300-mobile --data x.yaml": "x.yaml does not exist",
    "export blitznet300-mobile --data data.yaml --split x": "no split 'x'",
    "export blitznet300-mobile --data data.yaml --classes x": "no class is called 'x'",
    "export blitznet300-mobile --out x.xml": "onnx files end in .onnx",
    "export blitznet300-mobile --out here.onnx": "already exists",
    "check-data x.yaml": "x.yaml does not exist",
    "check-data data.yaml --split x": "no split 'x'",
    "check-data data.yaml --model x": "no network is called 'x'",
    "check-data data.yaml --out .": "not empty",
    "predict here.jpg --model x": "no network or file is called 'x'",
    "predict here.jpg --engine x": "no engine is called 'x'",
    "predict here.jpg --device x": "not 'x'",
    "predict here.jpg --format x": "'x'",
    "predict here.jpg --classes x": "no class is called 'x'",
    "predict here.jpg --out .": "not empty",
    "demo --model x": "no network or file is called 'x'",
    "demo --out .": "not empty",
    "bench x": "no network or file is called 'x'",
    "serve --port 0 --model x": "no network or file is called 'x'",
    "batch here.jpg --out out --model x": "no network or file is called 'x'",
    "batch here.jpg --out out --engine x": "no engine is called 'x'",
    "refine-masks x.yaml --out out": "x.yaml does not exist",
    "refine-masks data.yaml --out out --split x": "no split 'x'",
    "refine-masks data.yaml --out out --model x": "no network or file is called 'x'",
    "refine-masks data.yaml --out out --engine x": "no engine is called 'x'",
    "table 9": "no table",
}


def test_mistakes_are_found_before_pytorch_is_loaded(workplace: Path) -> None:
    (workplace / "format.yaml").write_text("classes: voc\ntrain: [{format: cocco}]\n")
    (workplace / "here.onnx").touch()
    Image.new("RGB", (8, 8)).save(workplace / "here.jpg")
    program = (
        "import sys; from blitznet.cli import main; "
        "seen = [(line, main(line.split()), 'torch' in sys.modules) for line in sys.argv[1:]]; "
        "wrong = [one for one in seen if one[1:] != (1, False)]; assert not wrong, wrong[0]"
    )
    done = subprocess.run(
        [sys.executable, "-c", program, *MISTAKES], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stderr
    for told, line in zip(done.stderr.splitlines(), MISTAKES.values(), strict=True):
        assert line in told


@pytest.mark.parametrize("has_bfloat16", [True, False])
def test_training_says_that_bfloat16_would_be_emulated(
    has_bfloat16: bool,
    workplace: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.setattr(loop_options, "has_fast_bfloat16", lambda _: has_bfloat16)
    settings = ("--set", "precision=bf16", "--max-minutes", "0")
    assert train("recipe.yaml", "--data", "data.yaml", *settings) == 0
    line = "This processor would emulate bfloat16; training runs in fp32\n"
    assert (line in capsys.readouterr().out) != has_bfloat16


def test_train_without_data_is_wrong_usage(workplace: Path) -> None:
    assert train() == 2
    assert train("recipe.yaml") == 2
    assert train("recipe.yaml", "--data", "data.yaml", "--resume", "run") == 2
    assert train("recipe.yaml", "--data", "data.yaml", "--steps", "1", "--epochs", "1") == 2


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["--split", "test"], "no split 'test'; there are train, val"),
        (["--classes", "cat,unicorn"], "no class is called 'unicorn'"),
        (["--device", "cuda:99"], "no device cuda:99"),
    ],
)
def test_wrong_input_of_eval_gets_one_line(
    workplace: Path, capsys: pytest.CaptureFixture[str], arguments: list[str], line: str
) -> None:
    network = BlitzNet(tiny_recipe().model).eval()
    info = CheckpointInfo(model=network.config, names=VOC_CLASSES, training={})
    save_checkpoint(workplace / "model.safetensors", network, info)
    model = "model.safetensors"
    assert main(["eval", model, "--data", "data.yaml", "--workers", "0", *arguments]) == 1
    error = capsys.readouterr().err.strip()
    assert line in error
    assert "\n" not in error
    assert not (workplace / "runs/eval").exists()


@pytest.mark.slow
@pytest.mark.parametrize("trained", ["boxes", "masks"])
def test_nothing_shows_a_head_that_nothing_trained(
    trained: str, workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Train, predict, measure and draw on images with boxes only, or with maps only."""
    path = workplace / "data.yaml"
    content = yaml.safe_load(path.read_text())
    for (entry,) in (content["train"], content["val"]):
        entry.update({"boxes": False} if trained == "masks" else {"masks": None})
    path.write_text(yaml.safe_dump(content))
    assert train("recipe.yaml", "--data", "data.yaml", "--set", "steps=60", "--out", "run") == 0
    has_boxes, run = trained == "boxes", workplace / "run"
    told = capsys.readouterr().out
    assert ("detection head only" if has_boxes else "segmentation head only") in told

    images = str(VOC_MINI / "JPEGImages")
    predict = ["predict", images, "--model", "run", "--score", "0.01", "--out"]
    assert main([*predict, "seen", "--save-masks"]) == 0
    lines = (workplace / "seen/predictions.jsonl").read_text().splitlines()
    for record in map(json.loads, lines):
        assert has_boxes or record["detections"] == []
        assert not has_boxes or record["pixels"] is record["seg_map"] is None
        shown = {one["label"] for one in record["detections"]} | set(record["pixels"] or ())
        assert shown <= {
            "background",
            "aeroplane",
            "bottle",
            "bus",
            "car",
            "cat",
            "person",
            "sheep",
            "tvmonitor",
        }  # those that are drawn
    assert any(json.loads(line)["detections" if has_boxes else "pixels"] for line in lines)
    assert has_boxes != (workplace / "seen/masks").exists()
    assert main([*predict, "labels", "--format", "coco" if has_boxes else "voc"]) == 0

    measured = ["--data", "data.yaml", "--workers", "0", "--out", "measured", "--report"]
    assert main(["eval", "run", *measured]) == 0
    metrics = json.loads((workplace / "measured/metrics.json").read_text())
    assert (metrics["mean_ap"] is not None, metrics["mean_iou"] is not None) == (
        has_boxes, not has_boxes,
    )  # fmt: skip
    for folder in (run / "report", workplace / "measured"):
        drawn = {path.name for path in folder.iterdir()}
        assert ("confusion_boxes.png" in drawn, "confusion_pixels.png" in drawn) == (
            has_boxes, not has_boxes,
        )  # fmt: skip
        assert has_boxes == ("pr_curves.png" in drawn)
    info = read_info(run / "model.safetensors")
    assert (info.model.detect, info.model.segment) == (has_boxes, not has_boxes)
