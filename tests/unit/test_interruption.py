import signal
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import pytest

from blitznet.interruption import (
    deferred_interruption,
    handlers_restored,
    ignore_interruption,
    terminated_as_interrupted,
)


@pytest.fixture(autouse=True)
def _heard() -> Iterator[None]:
    """A shell lets its background jobs ignore SIGINT."""
    with handlers_restored():
        signal.signal(signal.SIGINT, signal.default_int_handler)
        yield


def test_ctrl_c_is_noted_and_the_work_continues() -> None:
    before = signal.getsignal(signal.SIGINT)
    with deferred_interruption() as received:
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        assert received == [signal.SIGINT, signal.SIGTERM]
    assert signal.getsignal(signal.SIGINT) is before


def test_outside_the_main_thread_nothing_is_noted() -> None:
    def work() -> list[int]:
        with deferred_interruption() as received:
            return received

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(work).result() == []


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_interrupts_and_is_noted_even_where_python_drops_it(
    monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    monkeypatch.setattr(sys, "unraisablehook", lambda _: None)

    class Dying:
        def __del__(self) -> None:
            signal.raise_signal(number)

    before = signal.getsignal(number)
    with terminated_as_interrupted() as received:
        with pytest.raises(KeyboardInterrupt):
            signal.raise_signal(number)
        dying = Dying()
        del dying
        assert received == [number, number]
    assert signal.getsignal(number) is before


def test_an_ignored_signal_stays_ignored() -> None:
    before = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        with terminated_as_interrupted() as received:
            signal.raise_signal(signal.SIGINT)
        assert received == []
    finally:
        signal.signal(signal.SIGINT, before)


def test_when_all_is_done_signals_are_ignored_until_the_command_has_ended() -> None:
    before = [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)]
    with handlers_restored():
        with terminated_as_interrupted() as received:
            ignore_interruption()
        signal.raise_signal(signal.SIGINT)
        signal.raise_signal(signal.SIGTERM)
        assert received == []
    assert [signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)] == before
