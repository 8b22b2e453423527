"""What Ctrl-C and SIGTERM do to a run."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from threading import current_thread, main_thread

_SIGNALS = (signal.SIGINT, signal.SIGTERM)


def ignore_interruption() -> None:
    """Ignore SIGINT and SIGTERM from now on: only the last line is left to print."""
    if current_thread() is main_thread():
        for number in _SIGNALS:
            signal.signal(number, signal.SIG_IGN)


@contextmanager
def handlers_restored() -> Iterator[None]:
    """Restore the handlers of SIGINT and SIGTERM at the end."""
    previous = {number: signal.getsignal(number) for number in _SIGNALS}
    try:
        yield
    finally:
        if current_thread() is main_thread():
            for number, handler in previous.items():
                signal.signal(number, handler)


@contextmanager
def deferred_interruption() -> Iterator[list[int]]:
    """A list that Ctrl-C or SIGTERM fills, so that the work at hand is finished first.

    Python delivers signals to its main thread; in another one the list stays empty.
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
    """SIGTERM raises KeyboardInterrupt as Ctrl-C does, so that files are tidied up.

    After `ignore_interruption` inside of it, both stay ignored.

    Yields:
        The signals that came. Python drops an exception in a destructor, so a loop should look
        here, too.
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
        if handler != signal.SIG_IGN:  # as SIGINT is in the background of a shell's script
            signal.signal(number, interrupt)
    try:
        yield received
    finally:
        for number, handler in previous.items():
            if signal.getsignal(number) == interrupt:
                signal.signal(number, handler)
