"""The figures of a run as TensorBoard shows them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from blitznet.training.log import LOG_FILE, read_rows
from blitznet.training.validation import VALIDATION_FIELDS, read_validation

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

TENSORBOARD_FOLDER = "tensorboard"  # of a run

_LOG_TAGS = {
    "classification": "loss/classification",
    "box": "loss/box",
    "segmentation": "loss/segmentation",
    "lr": "lr",
    "pictures_per_second": "speed/pictures_per_second",
}
_VALIDATION_TAGS = {name: f"val/{name}" for name in VALIDATION_FIELDS if name != "step"}

_Written = dict[str, set[int]]  # steps by tag


def with_tensorboard(rows: Iterator[dict[str, float]], run: Path) -> Iterator[dict[str, float]]:
    """Pass on the rows of a run's log, and write them and the validations as event files.

    A run that is resumed goes on in the same curves; what was written of steps that are taken again
    is dropped, and what is missing is taken from the run's CSV files.

    Args:
        rows: with the fields `blitznet.training.log.LOG_FIELDS`.
        run: folder of the run; gets `tensorboard/`.
    """
    from torch.utils.tensorboard import SummaryWriter

    first = next(rows, None)
    if first is None:
        return
    first_step, folder = int(first["step"]), run / TENSORBOARD_FOLDER
    written = {
        tag: {step for step in steps if step < first_step}
        for tag, steps in _read_written(folder).items()
    }
    writer = SummaryWriter(str(folder), purge_step=first_step)
    try:
        for kept in read_rows(run / LOG_FILE):
            if int(kept["step"]) < first_step:
                row = {name: float(kept[name]) for name in ("step", *_LOG_TAGS)}
                _write(writer, row, _LOG_TAGS, written)
        _write(writer, first, _LOG_TAGS, written)
        _write_validations(writer, run, written)
        yield first
        for row in rows:
            _write(writer, row, _LOG_TAGS, written)
            _write_validations(writer, run, written)
            yield row
    finally:
        _write_validations(writer, run, written)
        writer.close()


def add_validations(run: Path) -> None:
    """Write what a run has measured since its event files were written, as at its very end."""
    from torch.utils.tensorboard import SummaryWriter

    folder = run / TENSORBOARD_FOLDER
    written = _read_written(folder)
    with SummaryWriter(str(folder)) as writer:
        _write_validations(writer, run, written)


def _write_validations(writer: SummaryWriter, run: Path, written: _Written) -> None:
    """On disk at once: a run that is killed keeps its curves."""
    for row in read_validation(run):
        _write(writer, row, _VALIDATION_TAGS, written)
    writer.flush()


def _write(
    writer: SummaryWriter,
    row: Mapping[str, float | None],
    tags: Mapping[str, str],
    written: _Written,
) -> None:
    """The figures of a row that are there and not written yet."""
    step = int(row["step"] or 0)
    for name, tag in tags.items():
        steps, figure = written.setdefault(tag, set()), row[name]
        if figure is not None and step not in steps:
            writer.add_scalar(tag, figure, step)
            steps.add(step)


def _read_written(folder: Path) -> _Written:
    """Steps that event files have figures of."""
    from tensorboard.backend.event_processing.event_accumulator import SCALARS, EventAccumulator

    if not folder.is_dir():
        return {}
    events = EventAccumulator(str(folder), size_guidance={SCALARS: 0})  # 0 = all of them
    events.Reload()
    return {tag: {event.step for event in events.Scalars(tag)} for tag in events.Tags()[SCALARS]}
