"""What Ctrl-C and SIGTERM do to a run."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread


@contextmanager
def deferred_interruption() -> Iterator[list[int]]:
    """A list that Ctrl-C or SIGTERM fills, so that the work at hand is finished first.

    Python delivers signals to its main thread; in another one the list stays empty.
    """
    received: list[int] = []
    if current_thread() is not main_thread():
        yield received
        return
    names = (signal.SIGINT, signal.SIGTERM)
    previous = {n: signal.signal(n, lambda number, _: received.append(number)) for n in names}
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)


@contextmanager
def terminated_as_interrupted() -> Iterator[None]:
    """SIGTERM raises KeyboardInterrupt as Ctrl-C does, so that files are tidied up."""
    if current_thread() is not main_thread():
        yield
        return
    previous = signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, previous)
