"""The Python call: results, arguments, messages."""

import json
import re
import signal
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch

from blitznet.errors import CheckpointError, InputError, RecipeError
from blitznet.evaluation.evaluate import evaluate
from blitznet.evaluation.metrics import Metrics
from blitznet.files.result_folder import locked
from blitznet.model.blitznet import BlitzNet
from blitznet.training import loop
from blitznet.training.train import TrainingRun, train
from fixtures.make_fixtures import describe
from fixtures.tiny_run import TINY, tiny_recipe

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers:UserWarning")

QUICK: dict[str, Any] = {"device": "cpu", "workers": 0}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    """A data description of the drawn images, with noisy ones for validation."""
    return describe(tmp_path / "data.yaml")


@pytest.mark.usefixtures("without_onnx", "without_report")
def test_a_run_has_its_folder_its_network_and_its_metrics(
    tmp_path: Path, data: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "run"
    run = train(data, tiny_recipe(), out=out, steps=2, model={"seg_width": 8}, **QUICK)
    assert (run.folder, run.steps, run.is_finished) == (out, 2, True)
    assert run.onnx_path.is_file()
    assert not run.model.training
    assert run.model.config.seg_width == 8
    assert isinstance(run.metrics, Metrics)
    assert json.loads((out / "metrics.json").read_text()) == run.metrics.to_dict()
    assert capfd.readouterr().out == ""

    before = {name: tensor.clone() for name, tensor in run.model.train().state_dict().items()}
    again = evaluate(run.model, data, device="cpu", workers=0)
    assert (again.mean_ap, again.iou) == (run.metrics.mean_ap, run.metrics.iou)
    assert run.model.training, "a copy is measured"
    assert all(torch.equal(tensor, before[name]) for name, tensor in run.model.state_dict().items())


@pytest.mark.usefixtures("without_onnx", "without_report")
@pytest.mark.parametrize(
    ("number", "moment", "way_on"),
    [
        (signal.SIGINT, "step 1/2", "continue with: blitznet train --resume {out}"),
        (signal.SIGTERM, "step 1/2", "continue with: blitznet train --resume {out}"),
        (
            signal.SIGTERM,
            "No report",
            "{out}/model.safetensors is trained; measure it with: "
            "blitznet eval {out}/model.safetensors --data {data}",
        ),
    ],
)
def test_a_signal_is_answered_with_the_line_that_goes_on(
    tmp_path: Path,
    data: Path,
    monkeypatch: pytest.MonkeyPatch,
    number: signal.Signals,
    moment: str,
    way_on: str,
) -> None:
    monkeypatch.setattr(loop, "LOG_EVERY", 1)
    lines: list[str] = []
    out = tmp_path / "run"

    def on_message(line: str) -> None:
        lines.append(line)
        if line.startswith(moment):
            signal.raise_signal(number)

    with pytest.raises(KeyboardInterrupt):
        train(data, tiny_recipe(steps=2), out=out, on_message=on_message, **QUICK)
    assert lines[-1] == f"Interrupted; {way_on.format(out=out, data=data)}"
    assert (out / "state.safetensors").is_file()


@pytest.mark.usefixtures("without_onnx", "without_report")
def test_a_split_of_another_name_is_not_taken_for_val_in_silence(
    tmp_path: Path, data: Path
) -> None:
    data.write_text(data.read_text().replace("\nval:", "\nvalid:"))
    lines: list[str] = []
    run = train(data, tiny_recipe(steps=1), out=tmp_path / "run", on_message=lines.append, **QUICK)
    assert run.metrics is None
    assert "  no split val, so nothing is measured" in lines


@pytest.mark.usefixtures("without_onnx", "without_report")
def test_a_run_out_of_time_is_resumed(tmp_path: Path, data: Path) -> None:
    lines: list[str] = []
    out = tmp_path / "run"
    run = train(
        data, tiny_recipe(steps=2), out=out, max_minutes=0, on_message=lines.append, **QUICK
    )
    assert run == TrainingRun(out, 1)
    assert lines[-1] == f"Stopped at step 1 of 2; continue with: blitznet train --resume {out}"
    with pytest.raises(CheckpointError, match="does not exist"):
        _ = run.model
    run = train(resume=out, on_message=lines.append, **QUICK)
    assert (run.steps, run.is_finished) == (2, True)
    assert lines[-1] == (
        f"The trained network is in {out}; predict with it: "
        f"blitznet predict IMAGE --model {out / 'model.onnx'}"
    )
    with pytest.raises(RecipeError, match="is finished"):
        train(resume=out, **QUICK)


def test_without_onnx_a_line_says_how_to_get_the_file(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    missing = ("onnxscript", "matplotlib")
    monkeypatch.setattr("blitznet.extras.find_spec", lambda name: None if name in missing else name)
    lines: list[str] = []
    out = tmp_path / "run"
    run = train(data, tiny_recipe(steps=1), out=out, on_message=lines.append, **QUICK)
    assert run.is_finished
    assert not run.onnx_path.exists()
    (line,) = [line for line in lines if line.startswith("No model.onnx: ")]
    assert "pip install 'blitznet[train]'; then: blitznet export " in line
    assert line.endswith("run/model.safetensors")


@pytest.mark.usefixtures("without_onnx", "without_report")
def test_a_run_that_cannot_start_leaves_its_folder_free(tmp_path: Path, data: Path) -> None:
    out = tmp_path / "run"
    with pytest.raises(RecipeError, match="this network has no module 'backbon'"):
        train(data, tiny_recipe(freeze=["backbon"]), out=out, **QUICK)
    assert not out.exists()
    assert train(data, tiny_recipe(steps=1, freeze=["backbone"]), out=out, **QUICK).is_finished


@pytest.mark.usefixtures("without_onnx", "without_report")
def test_a_run_is_not_resumed_with_a_recipe_that_was_changed(tmp_path: Path, data: Path) -> None:
    out = tmp_path / "run"
    train(data, tiny_recipe(), out=out, steps=2, max_minutes=0, **QUICK)
    text = (out / "run.json").read_text()
    (out / "run.json").write_text(re.sub(r'"weight_decay": [^,]+', '"weight_decay": 0.9', text))
    with pytest.raises(RecipeError, match=r"has changed since the run began: weight_decay was "):
        train(resume=out, **QUICK)
    (out / "run.json").write_text(text)
    assert train(resume=out, **QUICK).is_finished


def test_an_unknown_backbone_is_found_before_there_is_a_folder(tmp_path: Path, data: Path) -> None:
    with pytest.raises(InputError, match="timm has no model 'resnet5O'; did you mean resnet50"):
        train(data, tiny_recipe(), out=tmp_path / "run", model={"backbone": "resnet5O"}, **QUICK)
    assert not (tmp_path / "run").exists()


def test_a_source_that_cannot_be_opened_is_not_skipped(tmp_path: Path, data: Path) -> None:
    data.write_text(data.read_text().replace("Main/train", "Main/nothing"))
    with pytest.raises(InputError, match=r"data\.yaml, train, source 1: .*nothingval\.txt does "):
        train(data, tiny_recipe(), out=tmp_path / "run", skip_bad=True, **QUICK)


@pytest.mark.usefixtures("without_onnx", "without_report")
def test_a_run_is_trained_by_one_process_at_a_time(
    tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    out = tmp_path / "run"
    train(data, tiny_recipe(), out=out, steps=2, max_minutes=0, **QUICK)
    monkeypatch.setattr("blitznet.training.train.locked", partial(locked, patience=0))
    with (
        locked(out),
        pytest.raises(InputError, match=re.escape(f"{out}: another process is writing there")),
    ):
        train(resume=out, **QUICK)
    assert train(resume=out, **QUICK).is_finished


@pytest.mark.slow
@pytest.mark.usefixtures("without_report")
def test_the_exported_network_measures_as_the_trained_one(tmp_path: Path, data: Path) -> None:
    run = train(data, tiny_recipe(steps=2), out=tmp_path / "run", **QUICK)
    assert run.metrics is not None
    exported = evaluate(run.onnx_path, data, device="cpu", workers=0)
    assert exported.mean_iou == pytest.approx(run.metrics.mean_iou, abs=1e-3)
    assert exported.mean_ap == pytest.approx(run.metrics.mean_ap, abs=1e-3)


def test_what_does_not_go_together_is_refused(tmp_path: Path, data: Path) -> None:
    with pytest.raises(RecipeError, match=r"give data=DATA\.yaml, or resume=FOLDER"):
        train(**QUICK)
    with pytest.raises(RecipeError, match="give resume alone"):
        train(resume=tmp_path, steps=5, **QUICK)
    with pytest.raises(RecipeError, match="there is no field 'stepz'; did you mean steps"):
        train(data, stepz=5, **QUICK)
    with pytest.raises(InputError, match="no recipe or file is called 'mdern'"):
        train(data, "mdern", **QUICK)


def test_a_run_in_the_folder_of_another_is_told_how_to_continue_it(
    tmp_path: Path, data: Path
) -> None:
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "run.json").touch()
    for out, line in {
        tmp_path / "run": f"holds a run; continue it with --resume {tmp_path}/run if it is ",
        tmp_path: "not empty; name another folder$",
    }.items():
        with pytest.raises(InputError, match=line):
            train(data, tiny_recipe(), out=out, **QUICK)


def test_a_network_of_other_classes_is_not_measured(data: Path) -> None:
    network = BlitzNet(TINY.model_copy(update={"num_classes": 3}))
    with pytest.raises(InputError, match="the network has 3 classes, the data has 21 with"):
        evaluate(network, data, device="cpu", workers=0)
