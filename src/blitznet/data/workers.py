"""Batches in order, prepared ahead by worker processes."""

import signal
import threading
from collections.abc import Callable, Generator, Iterable, Iterator
from functools import partial
from typing import Any, TypeVar, cast

import torch
from torch.utils.data import DataLoader, Dataset

from blitznet.errors import InputError, WorkerError

Item = TypeVar("Item")
Prepared = TypeVar("Prepared")


def prepare_ahead(
    items: Dataset[Item | InputError],
    positions: Iterable[list[int]],
    collate: Callable[[list[Item]], Prepared],
    num_workers: int,
    pin_memory: bool = False,
) -> Generator[Prepared]:
    """What `collate` makes of the items at some positions, one batch per list.

    Closing the iterator ends the workers.

    Args:
        items: by position. An error is returned, not raised: PyTorch would wrap it in a traceback.
        positions: one list per batch; may be endless.
        collate: a function that can be pickled.
        num_workers: processes, each with one thread; 0 = this process, when a batch is asked for.
        pin_memory: put batches into page-locked memory.

    Raises:
        InputError: if an item of the batch is one.
        WorkerError: if a worker process dies.
    """
    loader = DataLoader(
        items,
        batch_sampler=positions,
        num_workers=num_workers,
        collate_fn=partial(_collate_or_error, collate),
        worker_init_fn=_use_one_thread if num_workers else None,
        prefetch_factor=4 if num_workers else None,
        pin_memory=pin_memory,
    )
    batches = _start(loader)
    try:
        while True:
            death = ""
            try:
                batch = next(batches)
            except StopIteration:
                return
            except RuntimeError as error:
                if "DataLoader worker" not in str(error):
                    raise
                death = str(error)
            if death:  # raised outside the handler, whose traceback would keep the workers alive
                raise WorkerError(
                    f"a process that prepares images died ({death}); if memory ran out, use fewer "
                    "--workers, else look for a damaged image with blitznet check-data"
                )
            if isinstance(batch, InputError):
                raise batch
            yield cast(Prepared, batch)
    finally:
        del batches  # ends the workers


def _start(loader: DataLoader[Any]) -> Iterator[Any]:
    """The loader's iterator, without the handler of SIGCHLD that PyTorch installs.

    That one raises in whatever the main thread is just doing. Without it, a dead worker is noticed
    within seconds of its next batch being waited for.
    """
    if threading.current_thread() is not threading.main_thread() or not hasattr(signal, "SIGCHLD"):
        return iter(loader)
    before = signal.getsignal(signal.SIGCHLD)
    batches = iter(loader)
    signal.signal(signal.SIGCHLD, before or signal.SIG_DFL)
    return batches


def _use_one_thread(_: int) -> None:
    torch.set_num_threads(1)


def _collate_or_error(
    collate: Callable[[list[Item]], Prepared], items: list[Item | InputError]
) -> Prepared | InputError:
    good: list[Item] = []
    for item in items:
        if isinstance(item, InputError):
            return item
        good.append(item)
    return collate(good)
