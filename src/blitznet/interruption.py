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
def terminated_as_interrupted() -> Iterator[list[int]]:
    """SIGTERM raises KeyboardInterrupt as Ctrl-C does, so that files are tidied up.

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

    previous = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number, handler in previous.items():
        if handler != signal.SIG_IGN:  # as SIGINT is in the background of a shell's script
            signal.signal(number, interrupt)
    try:
        yield received
    finally:
        for number, handler in previous.items():
            signal.signal(number, handler)
