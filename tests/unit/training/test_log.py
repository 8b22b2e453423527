"""The rows of a run's log."""

from pathlib import Path

import pytest
import torch

from blitznet.classes import IGNORE_INDEX
from blitznet.losses.joint import LossTerms
from blitznet.structures import Batch
from blitznet.training.log import LOG_FIELDS, Meter, append_row, drop_rows_after, read_rows
from blitznet.training.step import StepResult


def make_batch(has_boxes: list[bool], has_map: list[bool]) -> Batch:
    count = len(has_boxes)
    seg_maps = torch.full((count, 4, 4), IGNORE_INDEX, dtype=torch.uint8)
    seg_maps[torch.tensor(has_map), 1, 2] = 0  # one labelled pixel is enough
    return Batch(
        images=torch.zeros(count, 3, 4, 4, dtype=torch.uint8),
        boxes=torch.zeros(count, 0, 4),
        labels=torch.zeros(count, 0, dtype=torch.int64),
        has_boxes=torch.tensor(has_boxes),
        seg_maps=seg_maps,
        sources=("a",) * count,
    )


def taken(classification: float, box: float, segmentation: float) -> StepResult:
    terms = LossTerms(*map(torch.tensor, (classification, box, segmentation)))
    return StepResult(0.1, terms, torch.tensor(1.0))


def test_a_row_holds_the_means_of_losses_and_of_what_the_batches_are_made_of() -> None:
    meter = Meter()
    meter.add(taken(1, 2, 3), make_batch([True, True, True, False], [True, False, False, False]))
    meter.add(taken(3, 4, 8), make_batch([True, False, False, False], [True, True, True, True]))
    row = meter.read(step=2, lr=0.1, global_batch_size=4)
    assert (row["classification"], row["box"], row["segmentation"]) == (2, 3, 5.5)
    assert (row["with_boxes"], row["with_maps"]) == (0.5, 0.625)
    assert (row["step"], row["lr"]) == (2, 0.1)


def test_reading_begins_anew() -> None:
    meter = Meter()
    meter.add(taken(5, 5, 5), make_batch([True], [True]))
    meter.read(step=1, lr=0.1, global_batch_size=1)
    meter.add(taken(1, 2, 3), make_batch([False], [False]))
    row = meter.read(step=2, lr=0.1, global_batch_size=1)
    assert row["classification"] == pytest.approx(1)
    assert row["with_boxes"] == row["with_maps"] == 0


def row_of(step: int) -> dict[str, float]:
    return dict.fromkeys(LOG_FIELDS, 0.5) | {"step": step}


def test_a_log_goes_on_behind_the_step_that_is_resumed(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    drop_rows_after(path, LOG_FIELDS, 0)
    for step in (1, 2, 3):
        append_row(path, row_of(step))
    drop_rows_after(path, LOG_FIELDS, 2)
    append_row(path, row_of(4))
    assert [row["step"] for row in read_rows(path, LOG_FIELDS)] == [1, 2, 4]


def test_a_row_that_was_cut_short_is_dropped(tmp_path: Path) -> None:
    path = tmp_path / "log.csv"
    drop_rows_after(path, LOG_FIELDS, 0)
    append_row(path, row_of(1))
    with path.open("a") as file:
        file.write("2,0.5,0.")
    drop_rows_after(path, LOG_FIELDS, 5)
    append_row(path, row_of(6))
    assert [row["step"] for row in read_rows(path, LOG_FIELDS)] == [1, 6]


def test_time_that_was_not_spent_on_steps_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = iter([0.0, 100.0, 102.0])
    monkeypatch.setattr("blitznet.training.log.time.monotonic", lambda: next(clock))
    meter = Meter()
    meter.resume_clock()
    meter.add(taken(1, 2, 3), make_batch([True], [True]))
    assert meter.read(step=1, lr=0.1, global_batch_size=8)["pictures_per_second"] == 4
