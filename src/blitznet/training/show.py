"""Messages of a training run: a summary at the start, then a bar on a terminal, or lines."""

import math
import sys
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path

import torch
from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn

from blitznet.data.check.check_report import CheckReport
from blitznet.device import hardware_name
from blitznet.errors import count_of
from blitznet.inference.engines.engine import OnMessage
from blitznet.training.network import KnownClasses
from blitznet.training.recipe import Recipe
from blitznet.training.validation import VALIDATION_SPLIT, read_validation

QUIET_SECONDS = 30.0  # maximum between lines without a terminal
_BAR_CELLS = 45  # columns that steps, bar and time left take beside the text
_NAMES_SHOWN = 8
_LOSSES = {"classification": "class", "box": "box", "segmentation": "seg"}


def describe_start(
    recipe: Recipe,
    report: CheckReport,
    supervised: KnownClasses,
    known: KnownClasses,
    device: torch.device,
    precision: str,
) -> list[str]:
    """Summarise a run before it starts.

    Args:
        recipe: recipe fitted to the data.
        report: result of the data check.
        supervised: classes that each head learns from labels or already knows.
        known: classes that each head takes over from the starting network.
        device: device of the run.
        precision: precision of the computations.
    """
    names = report.statistics["train"].names[1:]
    lines = [f"Data: {report.data}; {count_of(len(names), 'class')}: {_list(names)}"]
    for split, number, source in report.sources:
        has = report.statistics[split].counts
        lines.append(f"  {split} source {number}: {count_of(len(source), 'image')}")
        if number == 1:
            lines[-1] += (
                f" ({split} in total: {has['pictures_with_boxes']} with boxes, "
                f"{has['pictures_with_maps']} with segmentation maps)"
            )
    lines += [f"  warning: {one}" for one in report.findings if not one.is_error]
    if VALIDATION_SPLIT not in report.statistics:
        lines.append(f"  no split {VALIDATION_SPLIT}, so nothing is measured")
    model = recipe.model
    lines.append(f"Network: {model.name}, {model.image_size} pixels, {_heads(recipe, report)}")
    for what, head, taken in zip(("boxes", "masks"), supervised, known, strict=True):
        absent = [name for name in names if name not in head]
        if head and absent:
            lines.append(f"  no labels for {what}, so never predicted: {_list(absent)}")
        if head and recipe.start_from is not None:
            fresh = [name for name in names if name not in taken]
            lines.append(
                f"  {what}: weights from {recipe.start_from}: {_list(taken)}; "
                f"from random weights: {_list(fresh)}"
            )
    if model.background_rows > 1:
        others = count_of(model.background_rows - 1, "class")
        lines.append(f"  {others} that only {recipe.start_from} knows become background")
    images = sum(len(source) for split, _, source in report.sources if split == "train")
    passes = recipe.steps * recipe.global_batch_size / max(images, 1)
    lines.append(
        f"Steps: {recipe.steps} of {count_of(recipe.global_batch_size, 'image')}, "
        f"{passes:.1f} epochs of {count_of(images, 'image')}"
    )
    lines.append(f"Device: {hardware_name(device)}, {precision}")
    if precision != recipe.precision:
        lines.append("This processor would emulate bfloat16; training runs in fp32")
    return lines


def _heads(recipe: Recipe, report: CheckReport) -> str:
    train = report.statistics["train"]
    if recipe.model.detect and recipe.model.segment:
        return "heads for boxes and masks"
    if recipe.model.detect:
        kept, is_labelled = "detection", train.pixels[1 : len(train.names)].any()
        has_maps = train.counts["pictures_with_maps"]
        why = "no map shows a class" if has_maps else "no image has a segmentation map"
    else:
        kept, is_labelled = "segmentation", train.boxes.any()
        why = "all boxes are ignored" if train.counts["boxes_ignored"] else "no image has boxes"
    return f"{kept} head only, because {'the recipe has no other' if is_labelled else why}"


def _list(names: Iterable[str]) -> str:
    """The first names, and how many more there are."""
    every = list(names)
    left = len(every) - _NAMES_SHOWN
    return ", ".join(every[:_NAMES_SHOWN]) + (f" and {left} more" if left > 0 else "") or "none"


class ProgressReporter:
    """Reports the progress of a run every `QUIET_SECONDS` if nothing else is printed.

    Args:
        on_message: called with each line; None = show nothing, not even a bar.

    Attributes:
        doing: the current activity, for the next line.
        is_shown: whether anything is printed.
        has_bar: whether a bar is shown, which replaces the lines.
    """

    def __init__(self, on_message: OnMessage | None):
        self.doing, self.is_shown = "reading the data", on_message is not None
        self.has_bar = False
        self._tell, self._told = on_message or (lambda _: None), time.monotonic()

    def on_message(self, line: str) -> None:
        """Print a line at once."""
        self._told = time.monotonic()
        self._tell(line)

    @contextmanager
    def heartbeat(self) -> Iterator[None]:
        """Print the current activity whenever nothing was printed for `QUIET_SECONDS`."""
        if not self.is_shown:
            yield
            return
        done = threading.Event()

        def beat() -> None:
            while not done.wait(QUIET_SECONDS / 10):
                if not self.has_bar and time.monotonic() - self._told >= 0.9 * QUIET_SECONDS:
                    self.on_message(self.doing)

        thread = threading.Thread(target=beat, daemon=True, name="heartbeat")
        thread.start()
        try:
            yield
        finally:
            done.set()
            thread.join()


def show_training(
    steps: Iterable[tuple[int, dict[str, float] | None]],
    total: int,
    run: Path,
    reporter: ProgressReporter,
) -> int:
    """Run the training and show the rows of its log.

    Args:
        steps: see `blitznet.training.loop.TrainingLoop.steps`.
        total: steps of the whole run.
        run: folder of the run, whose last validation is shown, too.
        reporter: receives the lines.

    Returns:
        The last step; 0 without any.
    """
    step, text, is_first = 0, "", True
    with Progress(
        SpinnerColumn(),
        MofNCompleteColumn(),
        BarColumn(bar_width=12),
        TextColumn("{task.description}"),
        TextColumn("{task.fields[left]}"),
        console=Console(stderr=True),
        speed_estimate_period=math.inf,  # a step may take longer than the half minute of rich
        get_time=lambda: time.monotonic(),
        redirect_stdout=sys.stdout.isatty(),
        disable=not (reporter.is_shown and sys.stderr.isatty()),
    ) as progress:
        bar = progress.add_task(reporter.doing, total=total, left="")
        reporter.has_bar = not progress.disable

        for step, row in steps:
            if row is not None:
                text = _describe_row(row, run, progress)
            progress.update(bar, completed=step)
            seconds = progress.tasks[bar].time_remaining  # without the one-time work of step 1
            left = f"  {timedelta(seconds=seconds)} left" if seconds else ""
            progress.update(bar, description=text, left=left.strip())
            reporter.doing = f"step {step}/{total}  {text}{left}"
            if row is not None and progress.disable and (is_first or step == total):
                reporter.on_message(reporter.doing)
            is_first &= row is None
    reporter.has_bar = False
    reporter.doing = "evaluating and exporting the trained network"
    return step


def _describe_row(row: dict[str, float], run: Path, progress: Progress) -> str:
    """Losses and, if there is room, the last validation, speed and learning rate."""
    # The loss of a missing head is exactly 0.
    text = " ".join(f"{short} {row[term]:.3f}" for term, short in _LOSSES.items() if row[term])
    measured = [one for one in read_validation(run) if one["score"] is not None]
    parts = [f"val {one['score']:.3f} at step {one['step']}" for one in measured[-1:]]
    parts += [f"{row['pictures_per_second']:.1f} images/s", f"lr {row['lr']:.2e}"]
    room = progress.console.width - _BAR_CELLS
    for part in parts:
        if progress.disable or len(f"{text}  {part}") <= room:
            text += f"  {part}"
    return text
