"""The event files of a run, read by TensorBoard."""

from collections.abc import Iterator
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from blitznet.training.log import LOG_FIELDS, LOG_FILE, append_row, drop_rows_after, write_rows
from blitznet.training.tensorboard import tensorboard_writer
from blitznet.training.validation import VALIDATION_FIELDS, VALIDATION_FILE

TAGS = ["loss/classification", "loss/box", "loss/segmentation", "lr", "speed/pictures_per_second"]


def log_row(step: int, box: float = 0.5) -> dict[str, float]:
    figures = (step, 2.0, box, 0.25, 1.0, 0.5, 0.125, 16.0)
    return dict(zip(LOG_FIELDS, figures, strict=True))


def write_validations(run: Path, **score_of_step: float) -> None:
    rows = [
        dict(zip(VALIDATION_FIELDS, (step[1:], score, "", score, "", 0.75, 3.5), strict=True))
        for step, score in score_of_step.items()
    ]
    write_rows(run / VALIDATION_FILE, VALIDATION_FIELDS, rows)


def write(run: Path, *rows: dict[str, float]) -> None:
    with tensorboard_writer(run) as write_events:
        for _ in logged(run, *rows):
            write_events()


def logged(run: Path, *rows: dict[str, float]) -> Iterator[dict[str, float]]:
    """Yield rows as in training: the log drops those of repeated steps."""
    drop_rows_after(run / LOG_FILE, LOG_FIELDS, int(rows[0]["step"]) - 1)
    for row in rows:
        append_row(run / LOG_FILE, row)
        yield row


def read(run: Path) -> dict[str, list[tuple[int, float]]]:
    events = EventAccumulator(str(run / "tensorboard"))
    events.Reload()
    return {
        tag: [(event.step, event.value) for event in events.Scalars(tag)]
        for tag in events.Tags()["scalars"]
    }


def test_every_row_becomes_a_point_of_each_curve(tmp_path: Path) -> None:
    write(tmp_path, log_row(20), log_row(40, box=0.375))
    assert read(tmp_path) == {
        "loss/classification": [(20, 2.0), (40, 2.0)],
        "loss/box": [(20, 0.5), (40, 0.375)],
        "loss/segmentation": [(20, 0.25), (40, 0.25)],
        "lr": [(20, 0.125), (40, 0.125)],
        "speed/pictures_per_second": [(20, 16.0), (40, 16.0)],
    }


def test_validations_are_written_once_as_they_come_and_without_what_was_not_measured(
    tmp_path: Path,
) -> None:
    with tensorboard_writer(tmp_path) as write_events:
        list(logged(tmp_path, log_row(20)))
        write_events()
        write_validations(tmp_path, s20=0.5)
        list(logged(tmp_path, log_row(40)))
        write_events()
        assert read(tmp_path)["val/score"] == [(20, 0.5)]  # on disk while the run goes on
        write_validations(tmp_path, s20=0.5, s40=0.625, s60=0.75)
        write_events()
        found = read(tmp_path)
        assert [step for step, _ in found["loss/box"]] == [20, 40]
        assert found["val/score"] == found["val/voc12"] == [(20, 0.5), (40, 0.625), (60, 0.75)]
        assert found["val/mean_iou"] == [(20, 0.75), (40, 0.75), (60, 0.75)]
        assert found["val/seconds"] == [(20, 3.5), (40, 3.5), (60, 3.5)]
    assert {tag for tag in found if tag.startswith("val/")} == {
        f"val/{name}" for name in ("score", "voc12", "mean_iou", "seconds")
    }


def test_a_resumed_run_continues_its_curves_without_doubled_steps(tmp_path: Path) -> None:
    write_validations(tmp_path, s20=0.5, s60=0.25)
    write(tmp_path, log_row(20), log_row(40, box=1.0), log_row(60, box=1.0))
    write_validations(tmp_path, s20=0.5)
    write(tmp_path, log_row(40, box=0.375), log_row(60, box=0.25))
    found = read(tmp_path)
    assert found["loss/box"] == [(20, 0.5), (40, 0.375), (60, 0.25)]
    assert found["val/score"] == [(20, 0.5)]


def test_what_was_not_written_before_is_taken_from_the_log(tmp_path: Path) -> None:
    list(logged(tmp_path, log_row(20), log_row(40)))
    write(tmp_path, log_row(60))
    assert {tag: [step for step, _ in points] for tag, points in read(tmp_path).items()} == (
        {tag: [20, 40, 60] for tag in TAGS}
    )


def test_a_run_that_breaks_off_keeps_its_curves(tmp_path: Path) -> None:
    def break_off() -> None:
        with tensorboard_writer(tmp_path) as write_events:
            list(logged(tmp_path, log_row(20)))
            write_events()
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        break_off()
    assert read(tmp_path)["loss/box"] == [(20, 0.5)]


def test_a_run_without_a_row_leaves_nothing(tmp_path: Path) -> None:
    with tensorboard_writer(tmp_path):
        pass
    assert list(tmp_path.iterdir()) == []
