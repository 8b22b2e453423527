"""What somebody who waits for a training run gets to see."""

import sys
import time
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from blitznet.training.validation import read_validation

_LINE_EVERY = 200  # steps, where there is no terminal
_BAR_CELLS = 75  # of a terminal's width, that steps, bar and time left take beside the text


def show_training(rows: Iterator[dict[str, float]], total: int, run: Path | None = None) -> int:
    """Take all rows of a run's log and show them: a bar on a terminal, else a line now and then.

    Args:
        rows: with the fields `blitznet.training.log.LOG_FIELDS`.
        total: steps of the whole run.
        run: folder whose newest validation is shown, too; None = nobody's.

    Returns:
        The last step that was taken; 0 if none was.
    """
    step, pace = 0, _Pace()
    with Progress(
        TextColumn("step"),
        MofNCompleteColumn(),
        BarColumn(),
        TextColumn("{task.description}"),
        TimeRemainingColumn(),
        console=Console(stderr=True),
        disable=not sys.stderr.isatty(),
    ) as progress:
        bar = progress.add_task("", total=total)
        for row in rows:
            step = int(row["step"])
            pace.add(step)
            text = describe_row(row)
            newest = None if run is None else describe_newest_validation(run)
            room = progress.console.width - _BAR_CELLS
            if newest is not None and (progress.disable or len(f"{text}  {newest}") <= room):
                text += f"  {newest}"
            progress.update(bar, completed=step, description=text)
            if progress.disable and (step % _LINE_EVERY == 0 or step == total):
                left = pace.seconds_left(total)
                if left is not None and step < total:
                    text += f"  {describe_seconds(left)} left"
                print(f"step {step}/{total}  {text}", flush=True)  # noqa: T201 - the verb's output
    return step


class _Pace:
    """How fast this start of a run is, validations and all.

    The time up to its first row is not counted: it holds what happens once.
    """

    def __init__(self) -> None:
        self._first: tuple[int, float] | None = None  # step, seconds
        self._last = (0, 0.0)

    def add(self, step: int) -> None:
        """A row has come."""
        self._last = step, time.monotonic()
        self._first = self._first or self._last

    def seconds_left(self, total: int) -> float | None:
        """Until step `total`; None before the second row."""
        if self._first is None or self._last[0] == self._first[0]:
            return None
        steps, seconds = (last - first for last, first in zip(self._last, self._first, strict=True))
        return (total - self._last[0]) * seconds / steps


def describe_seconds(seconds: float) -> str:
    """In hours, minutes and seconds, as `1:02:03`."""
    return str(timedelta(seconds=round(seconds)))


def describe_newest_validation(run: Path) -> str | None:
    """Score and step; None if nothing could be measured so far."""
    rows = [row for row in read_validation(run) if row["score"] is not None]
    return f"val {rows[-1]['score']:.3f} at step {rows[-1]['step']:.0f}" if rows else None


def describe_row(row: dict[str, float]) -> str:
    """Loss terms, learning rate and speed in one line."""
    losses = "  ".join(
        f"{term} {row[term]:.3f}" for term in ("classification", "box", "segmentation")
    )
    return f"{losses}  lr {row['lr']:.2e}  {row['pictures_per_second']:.1f} pictures/s"
