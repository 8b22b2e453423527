"""Batches in order, prepared ahead by worker processes."""

import multiprocessing
from collections.abc import Callable, Generator, Iterator
from functools import partial
from typing import TypeVar, cast

from torch.utils.data import DataLoader, Dataset

from blitznet.data.worker_watch import WatchedSamples, child_signals_as_before, describe_death
from blitznet.errors import InputError

Item = TypeVar("Item")
Prepared = TypeVar("Prepared")


def prepare_ahead(
    items: Dataset[Item | InputError],
    name_at: Callable[[int], str],
    collate: Callable[[list[Item]], Prepared],
    positions: Iterator[list[int]],
    num_workers: int,
    pin_memory: bool = False,
) -> Generator[Prepared]:
    """What `collate` makes of the items at some positions, a batch a list.

    Closing the iterator ends the workers.

    Args:
        items: by position; an error is returned, not raised.
        name_at: the picture at a position, for messages.
        collate: a function that workers can be sent.
        positions: a list a batch.
        num_workers: processes; 0 = this one, when a batch is asked for.
        pin_memory: put batches into page-locked memory.

    Raises:
        InputError: if an item of the batch is one.
        WorkerError: if a worker process dies.
    """
    watched = WatchedSamples(items, name_at, num_workers)
    loader = DataLoader(
        watched,
        batch_sampler=positions,
        num_workers=num_workers,
        collate_fn=partial(_collate_or_error, collate),
        worker_init_fn=watched.start_worker if num_workers else None,
        prefetch_factor=4 if num_workers else None,
        pin_memory=pin_memory,
    )
    others = set(multiprocessing.active_children())
    with child_signals_as_before():
        batches = iter(loader)
    workers = set(multiprocessing.active_children()) - others
    try:
        while True:
            death = None
            try:
                batch = next(batches)
            except StopIteration:
                return
            except RuntimeError:
                death = describe_death(watched, workers)
                if death is None:
                    raise
            if death is not None:  # not in the handler, whose traceback would keep workers alive
                raise death
            if isinstance(batch, InputError):
                raise batch
            yield cast(Prepared, batch)
    finally:
        del batches  # ends the workers


def _collate_or_error(
    collate: Callable[[list[Item]], Prepared], items: list[Item | InputError]
) -> Prepared | InputError:
    good: list[Item] = []
    for item in items:
        if isinstance(item, InputError):
            return item
        good.append(item)
    return collate(good)
