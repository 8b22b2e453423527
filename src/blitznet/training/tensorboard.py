"""The figures of a run as TensorBoard event files."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from blitznet.losses.joint import LossTerms
from blitznet.training.log import LOG_FILE, read_rows
from blitznet.training.validation import VALIDATION_FIELDS, VALIDATION_FILE

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

TENSORBOARD_FOLDER = "tensorboard"  # in the folder of a run

_LOSSES = {name: f"loss/{name}" for name in LossTerms._fields}
_SPEED = "pictures_per_second"

# From column to tag, by file.
_TAGS = {
    LOG_FILE: _LOSSES | {"lr": "lr", _SPEED: f"speed/{_SPEED}"},
    VALIDATION_FILE: {name: f"val/{name}" for name in VALIDATION_FIELDS if name != "step"},
}


def with_tensorboard(rows: Iterator[dict[str, float]], run: Path) -> Iterator[dict[str, float]]:
    """Pass on the rows of a run's log, and write log and validations as event files.

    Event files of an earlier start are replaced, because a resumed run repeats some of its steps;
    the CSV files still have the rows before these.

    Args:
        rows: rows that are already in the log when they are yielded.
        run: folder of the run, in which `tensorboard/` is created.
    """
    writer, num_written = None, dict.fromkeys(_TAGS, 0)
    try:
        for row in rows:
            writer = writer or _open(run)
            _write_new(writer, run, num_written)
            yield row
    finally:
        if writer is not None:
            writer.close()


def rewrite_tensorboard(run: Path) -> None:
    """Write all event files again, including the final evaluation of a run."""
    with _open(run) as writer:
        _write_new(writer, run, dict.fromkeys(_TAGS, 0))


def _open(run: Path) -> "SummaryWriter":
    """Delete old event files, and open a writer of new ones."""
    from torch.utils.tensorboard import SummaryWriter

    shutil.rmtree(run / TENSORBOARD_FOLDER, ignore_errors=True)
    return SummaryWriter(str(run / TENSORBOARD_FOLDER))


def _write_new(writer: "SummaryWriter", run: Path, num_written: dict[str, int]) -> None:
    """Write the CSV rows that were added since the last call; cells may be empty."""
    for name, tags in _TAGS.items():
        rows = read_rows(run / name, list(tags))
        for row in rows[num_written[name] :]:
            for column, tag in tags.items():
                if row[column] is not None:
                    writer.add_scalar(tag, row[column], row["step"])
        num_written[name] = len(rows)
    writer.flush()  # so that a killed run keeps its curves
