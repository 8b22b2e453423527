"""Progress bar for terminals."""

import sys
from collections.abc import Generator, Iterable
from contextlib import ExitStack
from time import monotonic
from typing import TypeVar

from blitznet.files.plain_names import printable

Item = TypeVar("Item")

PATIENCE_SECONDS = 2


def with_progress(
    items: Iterable[Item], total: int | None, what: str, is_wanted: bool = True
) -> Generator[Item, None, None]:
    """Pass items through and show a progress bar with the items per second.

    The bar appears on standard error after two seconds, if that is a terminal; it disappears at the
    end, or when the generator is closed.

    Args:
        items: items to pass through.
        total: number of items; None = unknown.
        what: short text before the bar.
        is_wanted: if False, nothing is shown.
    """
    if not (is_wanted and sys.stderr.isatty()):
        yield from items
        return
    from rich import progress
    from rich.console import Console
    from rich.markup import escape
    from rich.text import Text

    class Speed(progress.ProgressColumn):
        def render(self, task: progress.Task) -> Text:
            return Text(f"{task.speed:.1f}/s" if task.speed else "")

    bar = progress.Progress(
        *progress.Progress.get_default_columns()[:2],
        progress.MofNCompleteColumn(),
        progress.TimeRemainingColumn(),
        Speed(),
        console=Console(stderr=True),
        transient=True,
        redirect_stdout=sys.stdout.isatty(),
    )
    task = bar.add_task(escape(printable(what)), total=total)
    start = monotonic()
    with ExitStack() as shown:
        for item in items:
            yield item
            del item  # free it before the next one is made
            bar.advance(task)
            if not bar.live.is_started and monotonic() - start > PATIENCE_SECONDS:
                shown.enter_context(bar)
