"""The figures of a run as TensorBoard shows them."""

from __future__ import annotations

import shutil
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


def with_tensorboard(rows: Iterator[dict[str, float]], run: Path) -> Iterator[dict[str, float]]:
    """Pass on the rows of a run's log, and write them and the validations as event files.

    Event files of an earlier start are replaced: a resumed run takes some of its steps again, and
    its CSV files have all that is left of the earlier ones.

    Args:
        rows: with the fields `blitznet.training.log.LOG_FIELDS`; in the log when they come.
        run: folder of the run; gets `tensorboard/`.
    """
    first = next(rows, None)
    if first is None:
        return
    with _rewrite(run) as writer:
        num_written = len(read_validation(run))
        yield first
        for row in rows:
            _write(writer, row, _LOG_TAGS)
            for measured in read_validation(run)[num_written:]:
                _write(writer, measured, _VALIDATION_TAGS)
                num_written += 1
            writer.flush()  # a run that is killed keeps its curves
            yield row


def rewrite_tensorboard(run: Path) -> None:
    """Write all event files anew, with what a run has measured at its very end."""
    _rewrite(run).close()


def _rewrite(run: Path) -> SummaryWriter:
    """A writer of new event files, which hold what the CSV files have so far."""
    from torch.utils.tensorboard import SummaryWriter

    shutil.rmtree(run / TENSORBOARD_FOLDER, ignore_errors=True)
    writer = SummaryWriter(str(run / TENSORBOARD_FOLDER))
    for row in read_rows(run / LOG_FILE):
        _write(writer, {name: float(row[name]) for name in ("step", *_LOG_TAGS)}, _LOG_TAGS)
    for measured in read_validation(run):
        _write(writer, measured, _VALIDATION_TAGS)
    writer.flush()
    return writer


def _write(writer: SummaryWriter, row: Mapping[str, float | None], tags: Mapping[str, str]) -> None:
    """The figures of a row that are there."""
    for name, tag in tags.items():
        if (figure := row[name]) is not None:
            writer.add_scalar(tag, figure, int(row["step"] or 0))
