"""What a run reports while it goes on."""

import csv
import time
from pathlib import Path

import torch

from blitznet.losses.joint import LossTerms

LOG_FILE = "log.csv"
LOG_FIELDS = ("step", "classification", "box", "segmentation", "lr", "pictures_per_second")


class LossMeter:
    """Loss terms and speed since the last reading; only `read` waits for the device."""

    def __init__(self, device: torch.device):
        self._sum = torch.zeros(3, device=device)
        self._steps = 0
        self._started = time.monotonic()

    def add(self, terms: LossTerms) -> None:
        """One step."""
        self._sum += torch.stack(terms).detach()
        self._steps += 1

    def read(self, step: int, lr: float, global_batch_size: int) -> dict[str, float]:
        """A row of `LOG_FIELDS`: means since the last reading."""
        now = time.monotonic()
        classification, box, segmentation = (self._sum / self._steps).tolist()
        pictures = self._steps * global_batch_size
        row = (step, classification, box, segmentation, lr, pictures / (now - self._started))
        self._sum.zero_()
        self._steps, self._started = 0, now
        return dict(zip(LOG_FIELDS, row, strict=True))


class LogFile:
    """The CSV log of a run; resuming drops the rows of steps that are taken again."""

    def __init__(self, path: Path, first_step: int):
        path.parent.mkdir(parents=True, exist_ok=True)
        kept: list[dict[str, str]] = []
        if first_step and path.is_file():
            with path.open(newline="") as file:
                kept = [row for row in csv.DictReader(file) if int(row["step"]) <= first_step]
        self._file = path.open("w", newline="")
        self._writer = csv.DictWriter(self._file, LOG_FIELDS)
        self._writer.writeheader()
        self._writer.writerows(kept)

    def __enter__(self) -> "LogFile":
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def write(self, row: dict[str, float]) -> None:
        """One row, on disk at once."""
        self._writer.writerow(row)
        self._file.flush()
