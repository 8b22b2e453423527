"""Handling of Ctrl-C and SIGTERM during a run."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def ignore_interruption() -> None:
    """Ignore SIGINT and SIGTERM from now on, when only the last line is left to print."""
    if current_thread() is main_thread():
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)


@contextmanager
def handlers_restored() -> Iterator[None]:
    """Restore the handlers of SIGINT and SIGTERM on exit."""
    previous = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        yield
    finally:
        if current_thread() is main_thread():
            for number, handler in previous.items():
                signal.signal(number, handler)


@contextmanager
def deferred_interruption() -> Iterator[list[int]]:
    """Collect SIGINT and SIGTERM in a list, so that the current work can finish first.

    Python delivers signals to the main thread; in any other thread the list stays empty.
    """
    received: list[int] = []
    if current_thread() is not main_thread():
        yield received
        return
    with handlers_restored():
        for number in _SIGNALS:
            signal.signal(number, lambda number, _: received.append(number))
        yield received


@contextmanager
def terminated_as_interrupted() -> Iterator[list[int]]:
    """Raise KeyboardInterrupt on SIGTERM as on Ctrl-C, so that files are cleaned up.

    If `ignore_interruption` is called inside, both stay ignored.

    Yields:
        The signals received. Python drops an exception in a destructor, so a loop should check
        this list, too.
    """
    received: list[int] = []
    if current_thread() is not main_thread():
        yield received
        return

    def interrupt(number: int, _: object) -> None:
        received.append(number)
        raise KeyboardInterrupt

    previous = {number: signal.getsignal(number) for number in _SIGNALS}
    for number, handler in previous.items():
        if handler != signal.SIG_IGN:  # shells ignore SIGINT for a script's background jobs
            signal.signal(number, interrupt)
    try:
        yield received
    finally:
        for number, handler in previous.items():
            if signal.getsignal(number) == interrupt:
                signal.signal(number, handler)
