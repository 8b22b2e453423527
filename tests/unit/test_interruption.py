import signal
from concurrent.futures import ThreadPoolExecutor

from blitznet.interruption import deferred_interruption


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
