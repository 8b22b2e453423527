"""The log of a run: loss terms, make-up of the batches and speed, one CSV row every 20 steps."""

import csv
import time
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import torch

from blitznet.classes import IGNORE_INDEX
from blitznet.losses.joint import LossTerms
from blitznet.structures import Batch
from blitznet.whole_file import whole_file

LOG_FILE = "log.csv"
LOG_FIELDS = (
    "step",
    "classification",
    "box",
    "segmentation",
    "with_boxes",
    "with_maps",
    "lr",
    "pictures_per_second",
)


class LossMeter:
    """Loss terms, make-up of the batches and speed since the last reading, of this process.

    Only `read` waits for the device.
    """

    def __init__(self, device: torch.device):
        self._sum = torch.zeros(5, device=device)
        self._steps = 0
        self._started = time.monotonic()

    def resume_clock(self) -> None:
        """Leave out the time since the last reading."""
        self._started = time.monotonic()

    def add(self, terms: LossTerms, batch: Batch) -> None:
        """One step."""
        has_map = (batch.seg_maps != IGNORE_INDEX).flatten(1).any(dim=1)
        shares = torch.stack((batch.has_boxes, has_map)).float().mean(dim=1)
        self._sum += torch.cat((torch.stack(terms).detach(), shares))
        self._steps += 1

    def read(self, step: int, lr: float, global_batch_size: int) -> dict[str, float]:
        """A row of `LOG_FIELDS`: means since the last reading.

        `with_boxes` and `with_maps` are shares of the images, 0..1.
        """
        now = time.monotonic()
        means = (self._sum / self._steps).tolist()
        images = self._steps * global_batch_size
        row = (step, *means, lr, images / (now - self._started))
        self._sum.zero_()
        self._steps, self._started = 0, now
        return dict(zip(LOG_FIELDS, row, strict=True))


def start_log(path: Path, step: int) -> None:
    """Begin the CSV log of a run; rows behind `step`, which are taken again, are dropped."""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_rows(path, LOG_FIELDS, [row for row in read_rows(path) if int(row["step"]) <= step])


def append_row(path: Path, row: Mapping[str, float]) -> None:
    """One row of `LOG_FIELDS`, on disk at once."""
    with path.open("a", newline="") as file:
        csv.DictWriter(file, LOG_FIELDS).writerow(row)


def read_rows(path: Path) -> list[dict[str, str]]:
    """The rows of a CSV file with a header; none if it is missing, and none that was cut short."""
    if not path.is_file():
        return []
    with path.open(newline="") as file:
        return [row for row in csv.DictReader(file) if None not in row.values()]


def write_rows(path: Path, fields: Sequence[str], rows: Iterable[Mapping[str, object]]) -> None:
    """A CSV file with a header, whole or as it was before."""
    with whole_file(path) as temporary, temporary.open("w", newline="") as file:
        writer = csv.DictWriter(file, fields)
        writer.writeheader()
        writer.writerows(rows)
