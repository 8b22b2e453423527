"""Validation during training: changes nothing, keeps the best, and stops early."""

import os
import re
import signal
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from blitznet.data.description import DataDescription
from blitznet.errors import CheckpointError, RecipeError
from blitznet.evaluation.evaluate import measure
from blitznet.evaluation.metrics import Metrics
from blitznet.inference.engines.torch_engine import TorchEngine
from blitznet.model.checkpoint import load_checkpoint
from blitznet.model_files import read_info
from blitznet.training import loop, validation
from blitznet.training.finish import better_weights
from blitznet.training.log import Row, drop_rows_after
from blitznet.training.loop import MODEL_FILE, STATE_FILE
from blitznet.training.loop_options import steps_between_validations
from blitznet.training.resume import read_progress
from blitznet.training.validation import (
    BEST_FILE,
    LAST_FILE,
    VALIDATION_FIELDS,
    VALIDATION_FILE,
    read_validation,
)
from fixtures.tiny_run import (
    MIXED,
    ON_CPU,
    TINY,
    assert_same_tensors,
    read_log,
    read_state,
    tiny_recipe,
    train_steps,
    use_small_network,
)

pytestmark = pytest.mark.usefixtures("small_network")

WITH_VAL = MIXED.model_copy(update={"splits": MIXED.splits | {"val": MIXED.splits["train"][:1]}})
EVERY_SECOND = replace(ON_CPU, validate_every=2)
STOP_AT_ONCE = replace(EVERY_SECOND, max_minutes=0)


@pytest.fixture(scope="module")
def validated(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a run of six steps with validations at steps 2 and 4."""
    torch.set_num_threads(1)
    run = tmp_path_factory.mktemp("validated")
    with pytest.MonkeyPatch.context() as patch:
        use_small_network(patch)
        list(train_steps(tiny_recipe(), WITH_VAL, run, EVERY_SECOND))
    return run


def metrics_of(figure: float) -> Metrics:
    mean_ap: dict[str, float | None] = {"voc07": 0.5, "voc12": figure, "coco": 0.25}
    return Metrics(pictures=6, classes=("cat",), mean_ap=mean_ap, ap={}, mean_iou=figure, iou={})


@pytest.fixture
def scripted(monkeypatch: pytest.MonkeyPatch) -> Callable[..., None]:
    """Make validations return the given figures, one after another."""

    def script(*figures: float) -> None:
        left = iter(figures)
        monkeypatch.setattr(validation, "measure", lambda *_, **__: metrics_of(next(left)))

    return script


def without_seconds(run: Path) -> list[Row]:
    return [row | {"seconds": 0} for row in read_validation(run)]


def steps(run: Path) -> list[int]:
    return [row["step"] for row in read_validation(run)]


def test_a_run_that_is_measured_is_the_same_run_bit_for_bit(
    tmp_path: Path, validated: Path
) -> None:
    list(train_steps(tiny_recipe(), WITH_VAL, tmp_path, ON_CPU))
    assert not (tmp_path / VALIDATION_FILE).exists()
    assert_same_tensors(read_state(tmp_path), read_state(validated))
    assert_same_tensors(load_file(tmp_path / MODEL_FILE), load_file(validated / MODEL_FILE))


def test_what_is_measured_are_the_averaged_weights_of_that_step(
    tmp_path: Path, validated: Path
) -> None:
    assert steps(validated) == [2, 4]
    assert [row["step"] for row in read_log(validated)] == ["2", "4", "6"]
    for step in range(4):
        unmeasured = replace(ON_CPU, max_minutes=0)
        list(train_steps(tiny_recipe(), WITH_VAL, tmp_path, unmeasured, resume=step > 0))
    averaged = {
        name.removeprefix("averaged.module."): tensor
        for name, tensor in read_state(tmp_path).items()
        if name.startswith("averaged.module.") and not name.endswith("num_batches_tracked")
    }
    assert_same_tensors(load_file(validated / LAST_FILE), averaged)


@pytest.mark.parametrize("tasks", [{}, {"segment": False}, {"detect": False}])
def test_a_row_holds_the_figures_of_the_evaluator(
    tmp_path: Path, tasks: dict[str, bool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()  # the true network
    recipe = tiny_recipe(model=TINY.model_copy(update=tasks), steps=3)
    list(train_steps(recipe, WITH_VAL, tmp_path, EVERY_SECOND))
    network, info = load_checkpoint(tmp_path / LAST_FILE)
    engine = TorchEngine(network, info, torch.device("cpu"))
    metrics = measure(engine, WITH_VAL.open_split("val"), workers=0)
    (row,) = read_validation(tmp_path)
    assert tuple(row) == VALIDATION_FIELDS
    for kind in ("voc07", "voc12", "coco"):
        assert row[kind] == (metrics.mean_ap and metrics.mean_ap[kind])
    assert (row["voc12"] is None) == ("detect" in tasks)
    assert (row["mean_iou"] is None) == ("segment" in tasks)
    assert row["mean_iou"] == metrics.mean_iou
    assert row["score"] == metrics.score
    assert info.metrics["val"]["mean_iou"] == metrics.mean_iou
    assert info.training["steps"] == 2
    assert (tmp_path / BEST_FILE).exists()


@pytest.mark.parametrize(("figures", "best"), [((0.5, 0.7), 4), ((0.5, 0.5), 2), ((0.0, 0.0), 2)])
def test_the_best_is_kept_and_of_equals_the_first(
    tmp_path: Path, scripted: Callable[..., None], figures: tuple[float, ...], best: int
) -> None:
    scripted(*figures)
    list(train_steps(tiny_recipe(), WITH_VAL, tmp_path, EVERY_SECOND))
    info = read_info(tmp_path / BEST_FILE)
    assert info.training["steps"] == best
    assert info.metrics["val"]["mean_iou"] == max(figures)
    assert read_info(tmp_path / LAST_FILE).training["steps"] == 4
    assert read_info(tmp_path / MODEL_FILE).training["steps"] == 6


@pytest.mark.slow
def test_a_run_stopped_after_every_step_measures_the_same_and_knows_the_best(
    tmp_path: Path, validated: Path
) -> None:
    for step in range(6):
        list(train_steps(tiny_recipe(), WITH_VAL, tmp_path, STOP_AT_ONCE, resume=step > 0))
    assert without_seconds(tmp_path) == without_seconds(validated)
    for name in (BEST_FILE, LAST_FILE, MODEL_FILE):
        assert_same_tensors(load_file(tmp_path / name), load_file(validated / name))
    assert_same_tensors(read_state(tmp_path), read_state(validated))


@pytest.mark.slow
def test_the_best_of_before_the_break_is_not_replaced_by_a_worse_one(
    tmp_path: Path, scripted: Callable[..., None]
) -> None:
    scripted(0.7, 0.5)
    for step in range(6):
        list(train_steps(tiny_recipe(), WITH_VAL, tmp_path, STOP_AT_ONCE, resume=step > 0))
    assert read_info(tmp_path / BEST_FILE).training["steps"] == 2


def test_a_validation_that_was_killed_is_made_again(tmp_path: Path, validated: Path) -> None:
    """The validation's row is written last, after the state."""
    for step in range(4):
        list(train_steps(tiny_recipe(), WITH_VAL, tmp_path, STOP_AT_ONCE, resume=step > 0))
    assert read_progress(tmp_path / STATE_FILE).step == 4
    assert steps(tmp_path) == [2]
    list(train_steps(tiny_recipe(), WITH_VAL, tmp_path, EVERY_SECOND, resume=True))
    assert without_seconds(tmp_path) == without_seconds(validated)
    text = (tmp_path / VALIDATION_FILE).read_text()
    assert re.fullmatch(r"step,score,.*\n2,.*\n4,.*\n", text)


def test_a_column_of_another_version_is_dropped_on_resuming(tmp_path: Path) -> None:
    path = tmp_path / VALIDATION_FILE
    header = ",".join(VALIDATION_FIELDS)
    path.write_text(f"{header},extra\n2,0.5,,,,,9.0,1\n4,0.6,,,,,9.0,1\n")
    drop_rows_after(path, VALIDATION_FIELDS, 2)
    assert path.read_text().splitlines() == [header, "2,0.5,,,,,9.0"]


def test_a_missing_column_is_one_line(tmp_path: Path) -> None:
    (tmp_path / VALIDATION_FILE).write_text("step,seconds\n2,9.0\n")
    message = r"validation\.csv is damaged \(no column 'score'\); restore it from a copy, or delete"
    with pytest.raises(CheckpointError, match=message):
        read_validation(tmp_path)


def test_a_run_that_starts_anew_forgets_what_was_measured(
    tmp_path: Path, scripted: Callable[..., None]
) -> None:
    scripted(0.9, 0.8, 0.1, 0.2)
    list(train_steps(tiny_recipe(), WITH_VAL, tmp_path, EVERY_SECOND))
    list(train_steps(tiny_recipe(), WITH_VAL, tmp_path, EVERY_SECOND))
    assert [row["mean_iou"] for row in read_validation(tmp_path)] == [0.1, 0.2]
    assert read_info(tmp_path / BEST_FILE).metrics["val"]["mean_iou"] == 0.2


def test_without_gain_the_run_stops_and_the_best_is_the_result(
    tmp_path: Path, scripted: Callable[..., None]
) -> None:
    scripted(0.1, 0.5, 0.4, 0.5)
    options = replace(ON_CPU, validate_every=2, early_stopping=2)
    rows = list(train_steps(tiny_recipe(steps=20), WITH_VAL, tmp_path, options))
    assert [row["step"] for row in rows] == steps(tmp_path) == [2, 4, 6, 8]
    assert read_info(tmp_path / MODEL_FILE) == read_info(tmp_path / BEST_FILE)
    assert read_info(tmp_path / MODEL_FILE).training["steps"] == 4
    assert_same_tensors(load_file(tmp_path / MODEL_FILE), load_file(tmp_path / BEST_FILE))
    assert read_info(tmp_path / LAST_FILE).training["steps"] == 8


def test_a_run_killed_before_it_wrote_the_best_as_its_result_writes_it_when_resumed(
    tmp_path: Path, scripted: Callable[..., None]
) -> None:
    scripted(0.5, 0.4)
    options = replace(ON_CPU, validate_every=2, early_stopping=1)
    recipe = tiny_recipe(steps=20)
    list(train_steps(recipe, WITH_VAL, tmp_path, options))
    (tmp_path / MODEL_FILE).unlink()
    assert list(train_steps(recipe, WITH_VAL, tmp_path, options, resume=True)) == []
    assert read_info(tmp_path / MODEL_FILE).training["steps"] == 2


def test_a_gain_in_time_lets_the_run_go_on_to_its_end(
    tmp_path: Path, scripted: Callable[..., None]
) -> None:
    scripted(0.5, 0.4, 0.6, 0.5)
    options = replace(ON_CPU, validate_every=2, early_stopping=2)
    *_, row = train_steps(tiny_recipe(steps=10), WITH_VAL, tmp_path, options)
    assert row["step"] == 10
    assert read_info(tmp_path / MODEL_FILE).training["steps"] == 10


def test_a_result_that_is_worse_than_the_best_weights_is_said(
    tmp_path: Path, scripted: Callable[..., None]
) -> None:
    scripted(0.5, 0.4)
    list(train_steps(tiny_recipe(), WITH_VAL, tmp_path, EVERY_SECOND))
    assert better_weights(tmp_path, metrics_of(0.5)) is None
    assert better_weights(tmp_path, metrics_of(0.45)) == (
        f"{tmp_path}/best.safetensors is better on val: 0.500 at step 2; "
        "model.safetensors has 0.450"
    )


def test_ctrl_c_ends_a_validation_which_is_made_when_the_run_goes_on(
    tmp_path: Path, validated: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    looked_at = 0

    def measure_and_interrupt(*arguments: Any, found: Callable[..., None], **others: Any) -> None:
        def find(*prediction: object) -> None:
            nonlocal looked_at
            looked_at += 1
            os.kill(os.getpid(), signal.SIGINT)
            found(*prediction)

        measure(*arguments, found=find, **others)

    with monkeypatch.context() as patch:
        patch.setattr(validation, "measure", measure_and_interrupt)
        with pytest.raises(KeyboardInterrupt):
            list(train_steps(tiny_recipe(), WITH_VAL, tmp_path, EVERY_SECOND))
    assert looked_at == 1
    assert read_progress(tmp_path / STATE_FILE).step == 2
    assert not (tmp_path / VALIDATION_FILE).exists()
    list(train_steps(tiny_recipe(), WITH_VAL, tmp_path, EVERY_SECOND, resume=True))
    assert without_seconds(tmp_path) == without_seconds(validated)
    assert_same_tensors(read_state(tmp_path), read_state(validated))


def test_a_validation_that_would_last_too_long_waits_until_the_run_goes_on(
    tmp_path: Path, scripted: Callable[..., None], monkeypatch: pytest.MonkeyPatch
) -> None:
    scripted(0.5, 0.6)
    an_hour = [{"step": 0, "seconds": 3600.0}]
    monkeypatch.setattr(loop, "read_validation", lambda _: an_hour)
    options = replace(EVERY_SECOND, max_minutes=30)
    *_, row = train_steps(tiny_recipe(), WITH_VAL, tmp_path, options)
    assert row["step"] == 2
    *_, row = train_steps(tiny_recipe(), WITH_VAL, tmp_path, options, resume=True)
    assert row["step"] == 4
    assert steps(tmp_path) == [2]


def test_no_random_number_is_drawn_from_the_run(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    states = []

    def note_state(*arguments: Any) -> None:
        states.append(torch.get_rng_state())
        validation.validate(*arguments)
        states.append(torch.get_rng_state())

    monkeypatch.setattr(loop, "validate", note_state)
    list(train_steps(tiny_recipe(steps=3), WITH_VAL, tmp_path, EVERY_SECOND))
    assert torch.equal(*states)


@pytest.mark.parametrize(
    ("wanted", "steps", "data", "expected"),
    [
        (None, 5600, WITH_VAL, 560),
        (None, 5601, WITH_VAL, 561),
        (None, 50, WITH_VAL, 20),
        (None, 5600, MIXED, 0),
        (0, 5600, WITH_VAL, 0),
        (7, 5600, WITH_VAL, 7),
    ],
)
def test_a_run_is_measured_ten_times_unless_told_otherwise(
    wanted: int | None, steps: int, data: DataDescription, expected: int
) -> None:
    options = replace(ON_CPU, validate_every=wanted)
    assert steps_between_validations(tiny_recipe(steps=steps), data, options) == expected


@pytest.mark.parametrize(
    ("options", "data", "message"),
    [
        (
            replace(ON_CPU, validate_every=5),
            MIXED,
            "--validate-every 5: the data has no split 'val'; add one, or use --validate-every 0",
        ),
        (
            replace(ON_CPU, validate_every=None, early_stopping=3),
            MIXED,
            "--early-stopping needs validations, and there are none; it takes a split val in the "
            "data, and no --validate-every 0",
        ),
    ],
)
def test_validations_that_cannot_be_are_refused(
    tmp_path: Path, options: Any, data: DataDescription, message: str
) -> None:
    with pytest.raises(RecipeError, match=f"^{re.escape(message)}$"):
        list(train_steps(tiny_recipe(), data, tmp_path, options))
