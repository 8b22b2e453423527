"""Training batches from a store: the same samples as from files, whoever prepares them."""

import multiprocessing
from collections.abc import Iterator, Sequence
from contextlib import closing
from functools import partial

from torch.utils.data import Dataset

from blitznet.data.collate import collate_samples
from blitznet.data.loader import TrainingSamples
from blitznet.data.resident.decoded import DecodedSamples
from blitznet.data.resident.plan import StoredPiece, plan_batch
from blitznet.data.resident.render import render
from blitznet.data.resident.store import Store
from blitznet.data.resident.stored_labels import StoredSource
from blitznet.data.worker_batches import prepare_ahead
from blitznet.errors import InputError
from blitznet.structures import Batch


class DrawnSamples(Dataset[list[StoredPiece] | InputError]):
    """What the samples of a run are made of, by position.

    Args:
        samples: of the run; the files that they read are not touched.
        sources: of the store.
    """

    def __init__(self, samples: TrainingSamples, sources: Sequence[StoredSource]):
        self._samples = samples
        self._sources = sources

    def __getitem__(self, position: int) -> list[StoredPiece] | InputError:
        return self._samples.draw(position, self._sources)


def rendered_batches(
    samples: TrainingSamples, store: Store, positions: Iterator[list[int]], num_workers: int
) -> Iterator[Batch]:
    """Batches in order, drawn ahead by worker processes and made on the store's device.

    Boxes, labels and maps are those that `training_batches` gives at the same positions; pictures
    differ by rounding. Closing the iterator ends the workers.

    Raises:
        WorkerError: if a worker process dies.
    """
    plans = prepare_ahead(
        DrawnSamples(samples, store.sources),
        samples.name_at,
        partial(plan_batch, store.layout),
        positions,
        num_workers,
        pin_memory=store.device.type == "cuda",
    )
    with closing(plans):
        for plan in plans:
            yield render(plan.to(store.device), store)


def decoded_batches(
    samples: TrainingSamples, store: Store, positions: Iterator[list[int]], num_workers: int
) -> Iterator[Batch]:
    """Batches in order, made ahead by worker processes from a store in main memory.

    Those that `training_batches` gives at the same positions, but where that shrinks pictures while
    it decodes them: there they differ by rounding. Closing the iterator ends the workers.

    Raises:
        WorkerError: if a worker process dies.
    """
    if num_workers and multiprocessing.get_start_method() != "fork":  # else they would get copies
        store.pixels.share_memory_()  # type: ignore[no-untyped-call]
        store.map_ids.share_memory_()  # type: ignore[no-untyped-call]
    return prepare_ahead(
        DecodedSamples(samples, store), samples.name_at, collate_samples, positions, num_workers
    )
