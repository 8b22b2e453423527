"""What somebody who waits for a training run gets to see."""

import sys
from collections.abc import Iterator

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

_LINE_EVERY = 200  # steps, where there is no terminal


def show_training(rows: Iterator[dict[str, float]], total: int) -> int:
    """Take all rows of a run's log and show them: a bar on a terminal, else a line now and then.

    Args:
        rows: with the fields `blitznet.training.log.LOG_FIELDS`.
        total: steps of the whole run.

    Returns:
        The last step that was taken; 0 if none was.
    """
    step = 0
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
            text = describe_row(row)
            progress.update(bar, completed=step, description=text)
            if progress.disable and (step % _LINE_EVERY == 0 or step == total):
                print(f"step {step}/{total}  {text}", flush=True)  # noqa: T201 - the verb's output
    return step


def describe_row(row: dict[str, float]) -> str:
    """Loss terms, learning rate and speed in one line."""
    losses = "  ".join(
        f"{term} {row[term]:.3f}" for term in ("classification", "box", "segmentation")
    )
    return f"{losses}  lr {row['lr']:.2e}  {row['pictures_per_second']:.1f} pictures/s"
