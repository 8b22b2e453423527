"""The log of a run: losses, shares of labelled images and speed, a CSV row every 20 steps."""

import csv
import time
from collections.abc import Iterable, Mapping, Sequence
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

import torch
from torch import Tensor, distributed, nn

from blitznet.classes import IGNORE_INDEX
from blitznet.errors import CheckpointError, DivergenceError, cut, file_errors
from blitznet.files.atomic_write import atomic_write
from blitznet.files.text_files import read_text
from blitznet.losses.joint import LossTerms
from blitznet.structures import Batch
from blitznet.training.step import StepResult

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Row = dict[str, Any]  # of a CSV file: `step` is an integer, all others are floats or None

LOG_FILE = "log.csv"
LOG_FIELDS = ("step", *LossTerms._fields, "with_boxes", "with_maps", "lr", "pictures_per_second")


class Meter:
    """Accumulates losses and speed of this process's steps until they are read.

    Only `require_finite` and `read` synchronise with the device.
    """

    def __init__(self) -> None:
        # Per step: loss terms and shares of labelled images, whether they are finite, the images.
        self._steps: list[tuple[Tensor, Tensor, tuple[str, ...]]] = []
        self.resume_clock()

    def resume_clock(self) -> None:
        """Restart the clock, to exclude the time since the last reading."""
        self._started = time.monotonic()

    def add(self, taken: StepResult, batch: Batch) -> None:
        """Add one step."""
        has_map = (batch.seg_maps != IGNORE_INDEX).flatten(1).any(dim=1)
        shares = torch.stack((batch.has_boxes, has_map)).float().mean(dim=1)
        figures = torch.cat((torch.stack(taken.terms), shares))
        is_finite = torch.isfinite(taken.terms.total + taken.gradient_norm)
        self._steps.append((figures, is_finite, batch.sources))

    def require_finite(self, fabric: "Fabric", network: nn.Module, last_step: int) -> None:
        """Check for NaN losses and weights; all processes must call this before weights are saved.

        Raises:
            DivergenceError: if a loss since the last reading, or a weight, is infinite or NaN.
        """
        finite = torch.stack([is_finite for _, is_finite, _ in self._steps])
        # Even with finite gradients, the update itself may have overflowed.
        finite[-1] &= torch.stack([p.isfinite().all() for p in network.parameters()]).all()
        if fabric.world_size > 1:  # losses differ between processes
            finite = cast(Tensor, fabric.all_reduce(finite.float(), reduce_op="min")) > 0
        if not finite.all():
            first = int((~finite).nonzero()[0])
            parts = [self._steps[first][2]] * fabric.world_size
            if fabric.world_size > 1:
                distributed.all_gather_object(parts, parts[0])
            raise DivergenceError(
                f"the loss is not finite at step {last_step - len(finite) + 1 + first}; "
                f"its images: {', '.join(chain(*parts))}. Lower the learning rate with --set lr=..."
            )

    def read(self, step: int, lr: float, global_batch_size: int) -> dict[str, float]:
        """A row of `LOG_FIELDS` with means since the last reading.

        `with_boxes` and `with_maps` are shares of the images, 0..1.
        """
        now = time.monotonic()
        means = torch.stack([figures for figures, *_ in self._steps]).mean(dim=0).tolist()
        images = len(self._steps) * global_batch_size
        row = (step, *means, lr, images / (now - self._started))
        self._steps, self._started = [], now
        return dict(zip(LOG_FIELDS, row, strict=True))


def append_row(path: Path, row: Mapping[str, float]) -> None:
    """Append a row of `LOG_FIELDS` and close the file.

    Raises:
        InputError: if the row cannot be written.
    """
    with file_errors(path), path.open("a", newline="") as file:
        csv.DictWriter(file, LOG_FIELDS).writerow(row)


def read_rows(path: Path, fields: Sequence[str]) -> list[Row]:
    """These fields of all complete rows of a CSV file with a header; none if the file is missing.

    Raises:
        CheckpointError: if the file cannot be read, lacks a field, or holds anything but numbers.
    """
    if not path.exists():
        return []
    remedy = "restore it from a copy, or delete it and lose what it lists"
    try:
        rows = list(csv.DictReader(read_text(path, CheckpointError).splitlines()))
        if any(None in row for row in rows):
            raise ValueError("a row has more cells than the header")
        return [
            {name: float(row[name]) if row[name] else None for name in fields}
            | {"step": int(row["step"])}
            for row in rows
            if None not in row.values()
        ]
    except KeyError as error:
        raise CheckpointError(f"{path} is damaged (no column {error}); {remedy}") from None
    except (csv.Error, ValueError, TypeError) as error:
        raise CheckpointError(f"{path} is damaged ({cut(str(error))}); {remedy}") from None


def drop_rows_after(path: Path, fields: Sequence[str], step: int) -> None:
    """Drop the rows of a CSV file after `step`, which will be repeated; creates a missing file."""
    write_rows(path, fields, [row for row in read_rows(path, fields) if row["step"] <= step])


def write_rows(path: Path, fields: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """Write a CSV file with a header, replacing an existing one only when complete."""
    with atomic_write(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, fields)
        writer.writeheader()
        writer.writerows(rows)
