"""Ctrl-C that waits until the work at hand is done."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def deferred_interruption() -> Iterator[list[int]]:
    """A list that Ctrl-C or SIGTERM fills, so that the work at hand is finished first."""
    received: list[int] = []
    names = (signal.SIGINT, signal.SIGTERM)
    previous = {n: signal.signal(n, lambda number, _: received.append(number)) for n in names}
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
