"""The figures of a run as TensorBoard event files."""

import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from blitznet.losses.joint import LossTerms
from blitznet.training.log import LOG_FILE, read_rows
from blitznet.training.validation import VALIDATION_FIELDS, VALIDATION_FILE

TENSORBOARD_FOLDER = "tensorboard"  # in the folder of a run

# From column to tag, by file.
_TAGS = {
    LOG_FILE: {name: f"loss/{name}" for name in LossTerms._fields}
    | {"lr": "lr", "pictures_per_second": "speed/pictures_per_second"},
    VALIDATION_FILE: {name: f"val/{name}" for name in VALIDATION_FIELDS if name != "step"},
}


@contextmanager
def tensorboard_writer(run: Path) -> Iterator[Callable[[], None]]:
    """Yield a function that writes the rows of a run's CSV files as event files.

    Each call writes the rows that were added since the last one. The first call replaces the event
    files of an earlier start, because a resumed run repeats some of its steps.

    Args:
        run: folder of the run, in which `tensorboard/` is created.
    """
    writer, num_written = None, dict.fromkeys(_TAGS, 0)

    def write() -> None:
        nonlocal writer
        if writer is None:
            from torch.utils.tensorboard import SummaryWriter

            shutil.rmtree(run / TENSORBOARD_FOLDER, ignore_errors=True)
            writer = SummaryWriter(str(run / TENSORBOARD_FOLDER))
        for name, tags in _TAGS.items():
            rows = read_rows(run / name, list(tags))
            for row in rows[num_written[name] :]:
                for column, tag in tags.items():
                    if row[column] is not None:  # cells may be empty
                        writer.add_scalar(tag, row[column], row["step"])
            num_written[name] = len(rows)
        writer.flush()  # so that a killed run keeps its curves

    try:
        yield write
    finally:
        if writer is not None:
            writer.close()
