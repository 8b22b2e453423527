"""Worker processes that die: what they worked on, as an error that names the picture."""

import os
import signal
import threading
from collections.abc import Callable, Collection, Iterator
from contextlib import contextmanager, suppress
from multiprocessing.process import BaseProcess
from typing import Generic, TypeVar

import torch
from torch.utils.data import Dataset, get_worker_info

from blitznet.errors import WorkerError

Item = TypeVar("Item", covariant=True)


class WatchedSamples(Dataset[Item], Generic[Item]):
    """The same samples; every worker leaves a note of what it works on.

    Args:
        samples: to be read.
        name_at: the picture at a position, for messages.
        num_workers: that read them.

    Attributes:
        at_work: (num_workers, 2) int64 in shared memory, process id and position; -1 = none yet.
    """

    def __init__(self, samples: Dataset[Item], name_at: Callable[[int], str], num_workers: int):
        self.samples = samples
        self.name_at = name_at
        self.at_work = torch.full((num_workers, 2), -1)
        if num_workers:
            self.at_work.share_memory_()  # type: ignore[no-untyped-call]

    def start_worker(self, worker: int) -> None:
        """To be called first in a worker process."""
        torch.set_num_threads(1)
        self.at_work[worker, 0] = os.getpid()

    def __getitem__(self, position: int) -> Item:
        worker = get_worker_info()
        if worker is not None:
            self.at_work[worker.id, 1] = position
        return self.samples[position]

    def position_of(self, process_id: int | None) -> int | None:
        """What a worker process works on, or died of."""
        found = self.at_work[self.at_work[:, 0] == process_id, 1].tolist() if process_id else []
        return next((position for position in found if position >= 0), None)


@contextmanager
def child_signals_as_before() -> Iterator[None]:
    """Undo the handler of SIGCHLD that torch sets within.

    It raises in whatever the main thread is just doing. Without it, a dead worker is noticed within
    seconds of its next batch being waited for.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGCHLD"):
        yield
        return
    before = signal.getsignal(signal.SIGCHLD)
    yield
    signal.signal(signal.SIGCHLD, before or signal.SIG_DFL)


def describe_death(
    samples: WatchedSamples[Item], workers: Collection[BaseProcess]
) -> WorkerError | None:
    """Which worker died, how, and of which picture; None if all are alive."""
    for worker in workers:
        if worker.exitcode is None:
            continue
        cause = f"ended with exit code {worker.exitcode}"
        if worker.exitcode < 0:
            with suppress(ValueError):
                cause = f"was ended by {signal.Signals(-worker.exitcode).name}"
        position = samples.position_of(worker.pid)
        where = "" if position is None else f" while it read {samples.name_at(position)}"
        return WorkerError(
            f"a worker process {cause}{where}; if memory ran out, give fewer --workers, "
            "else look at that picture with blitznet check-data"
        )
    return None
