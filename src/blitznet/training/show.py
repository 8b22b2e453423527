"""The progress of a training run: a bar on a terminal, else a line every 200 steps."""

import sys
import time
from collections.abc import Callable, Iterator
from datetime import timedelta
from pathlib import Path

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from blitznet.training.validation import read_validation

Tell = Callable[[str], object]

_LINE_EVERY = 200  # steps, where there is no terminal
_BAR_CELLS = 75  # of a terminal's width, that steps, bar and time left take beside the text


def show_training(
    rows: Iterator[dict[str, float]], total: int, run: Path, tell: Tell = print
) -> int:
    """Take all rows of a run's log and show them.

    Args:
        rows: with the fields `blitznet.training.log.LOG_FIELDS`.
        total: steps of the whole run.
        run: its folder, whose newest validation is shown, too.
        tell: called with the lines.

    Returns:
        The last step that was taken; 0 if none was.
    """
    step, first = 0, None
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
            step, now = int(row["step"]), time.monotonic()
            # The time up to the first row is not counted: it holds what happens once.
            first = first or (step, now)
            text = _describe_row(row)
            newest = _describe_newest_validation(run)
            room = progress.console.width - _BAR_CELLS
            if newest is not None and (progress.disable or len(f"{text}  {newest}") <= room):
                text += f"  {newest}"
            progress.update(bar, completed=step, description=text)
            if progress.disable and (step % _LINE_EVERY == 0 or step == total):
                if first[0] < step < total:
                    left = (total - step) * (now - first[1]) / (step - first[0])
                    text += f"  {timedelta(seconds=round(left))} left"
                tell(f"step {step}/{total}  {text}")
    return step


def _describe_newest_validation(run: Path) -> str | None:
    """Score and step; None if nothing could be measured so far."""
    rows = [row for row in read_validation(run) if row["score"] is not None]
    return f"val {rows[-1]['score']:.3f} at step {rows[-1]['step']:.0f}" if rows else None


def _describe_row(row: dict[str, float]) -> str:
    """Loss terms, learning rate and speed in one line."""
    losses = "  ".join(
        f"{term} {row[term]:.3f}" for term in ("classification", "box", "segmentation")
    )
    return f"{losses}  lr {row['lr']:.2e}  {row['pictures_per_second']:.1f} images/s"
