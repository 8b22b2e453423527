"""Batches for training, each a pure function of the seed and its position.

Sample i of a run is drawn by a generator seeded with (seed, i), in whichever process. So the
numbers of workers and processes do not change the training data, and resuming needs only the
step.
"""

import signal
import sys
import threading
import traceback
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from typing import Any, TypeVar, cast

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import DataLoader, Dataset, get_worker_info

from blitznet.classes import IGNORE_INDEX
from blitznet.data.mosaic import TILES, mosaic
from blitznet.data.sampling import DrawOrder
from blitznet.data.source import LabelSource, locate
from blitznet.data.ssd_policy import Augmentation, read_augmented
from blitznet.errors import InputError, WorkerError, one_line, require_numbers
from blitznet.structures import IGNORE_LABEL, PADDING_LABEL, Batch, Sample

_MAX_WORKERS = 256  # more take the memory of any machine

Item = TypeVar("Item")
Prepared = TypeVar("Prepared")


class TrainingSamples(Dataset[Sample]):
    """The endless sequence of augmented samples of a run, by position.

    Attributes:
        order: which image is drawn at each position.

    Args:
        sources: sources of the images, in the order of `order`'s indices.
        size: S, side of the samples in pixels.
        augmentation: how strongly images are changed.
        seed: seed of the run.
        frequencies: (N,) float, see `DrawOrder`; None = all images equally often.
    """

    def __init__(
        self,
        sources: Sequence[LabelSource],
        size: int,
        augmentation: Augmentation,
        seed: int,
        frequencies: np.ndarray | None = None,
    ):
        self._sources, self._size = sources, size
        self._augmentation, self._seed = augmentation, seed
        if frequencies is None:
            frequencies = np.ones(sum(map(len, sources)))
        self.order = DrawOrder(frequencies, seed)

    def __getitem__(self, position: int) -> Sample:
        """One augmented image, or a mosaic of it and three others (only for even sizes).

        Raises:
            InputError: for an image or a label that cannot be used.
        """
        rng = np.random.default_rng((self._seed, position))
        source, index = locate(self._sources, self.order.image_at(position))
        size, augmentation, tiles = self._size, self._augmentation, [source.labels(index)]
        is_possible = augmentation.mosaic_probability > 0 and size % 2 == 0
        if is_possible and rng.random() < augmentation.mosaic_probability:
            tiles += [source.labels(i) for i in rng.integers(len(source), size=TILES - 1).tolist()]
            if len({tile.objects is None for tile in tiles}) > 1:
                del tiles[1:]
        if len(tiles) == 1:
            return read_augmented(tiles[0], source.table, size, augmentation, rng)
        augmentation = augmentation.model_copy(update={"zoom_out_probability": 0.0})
        return mosaic(
            [read_augmented(tile, source.table, size // 2, augmentation, rng) for tile in tiles]
        )


def batch_positions(
    first_step: int, last_step: int, global_batch_size: int, rank: int, world_size: int
) -> Iterator[list[int]]:
    """This process's sample positions, one list per step."""
    per_device = global_batch_size // world_size
    for step in range(first_step, last_step):
        start = step * global_batch_size + rank * per_device
        yield list(range(start, start + per_device))


def collate_samples(samples: Sequence[Sample]) -> Batch:
    """Stack samples that are already at (S, S); see `Batch` for shapes and padding."""
    size = samples[0].image.shape[0]
    num_boxes = max(len(sample.labels) for sample in samples)
    boxes = np.zeros((len(samples), num_boxes, 4), np.float32)
    labels = np.full((len(samples), num_boxes), PADDING_LABEL, np.int64)
    seg_maps = np.full((len(samples), size, size), IGNORE_INDEX, np.uint8)
    for index, sample in enumerate(samples):
        if sample.boxes is not None:
            count = len(sample.boxes)
            boxes[index, :count] = sample.boxes
            labels[index, :count] = np.where(sample.difficult, IGNORE_LABEL, sample.labels)
        if sample.seg_map is not None:
            seg_maps[index] = sample.seg_map
    images = np.stack([sample.image for sample in samples])
    rows = [True if s.known_classes is None else s.known_classes for s in samples]
    known = np.stack(np.broadcast_arrays(*rows))
    return Batch(
        images=torch.from_numpy(images).permute(0, 3, 1, 2),  # channels_last in memory
        boxes=torch.from_numpy(boxes),
        labels=torch.from_numpy(labels),
        has_boxes=torch.tensor([sample.boxes is not None for sample in samples]),
        seg_maps=torch.from_numpy(seg_maps),
        sources=tuple(sample.source for sample in samples),
        known_classes=None if known.all() else torch.from_numpy(known),
    )


def prepare_ahead(
    items: Dataset[Item],
    positions: Iterable[list[int]],
    collate: Callable[[list[Item]], Prepared],
    num_workers: int,
    pin_memory: bool = False,
    prefetch: int = 4,
) -> Generator[Prepared]:
    """Yield one collated batch per list of positions, prepared ahead by worker processes.

    Closing the generator stops the workers.

    Args:
        items: items by position; may raise InputError.
        positions: one list per batch; may be endless.
        collate: makes a batch of items; a module-level function, which workers can import.
        num_workers: processes, one thread each; 0 = prepare batches on demand in this process.
        pin_memory: put batches into page-locked memory.
        prefetch: batches that each worker prepares ahead.

    Raises:
        InputError: raised by an item of the batch.
        WorkerError: if a worker process dies.
    """
    require_numbers(0, _MAX_WORKERS, workers=num_workers)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "This DataLoader will create", UserWarning)  # on one core
        loader = DataLoader(
            _Batches(items, collate),
            batch_size=None,  # an index of `_Batches` is a whole list of positions
            sampler=positions,
            num_workers=num_workers,
            collate_fn=_shared,
            prefetch_factor=prefetch if num_workers else None,
            pin_memory=pin_memory,
            worker_init_fn=_outlive_interruption,
        )
        batches = _start(loader)
    try:
        while True:
            death = ""
            try:
                batch = next(batches)
            except StopIteration:
                return
            except (RuntimeError, ConnectionError, EOFError) as error:  # last two: while sending
                if isinstance(error, RuntimeError) and "DataLoader worker" not in str(error):
                    raise
                death = str(error)
            if death:  # raised outside the handler, whose traceback would keep the workers alive
                raise WorkerError(
                    f"a data-loading process died ({death}); if memory ran out, use fewer "
                    "--workers, else look for a damaged image with blitznet check-data"
                )
            if isinstance(batch, InputError):
                raise batch
            yield cast(Prepared, batch)
    finally:
        del batches  # stops the workers


def _start(loader: DataLoader[Any]) -> Iterator[Any]:
    """Start the loader's iterator without PyTorch's SIGCHLD handler.

    The handler raises at an arbitrary place in the main thread. Without it, a dead worker is
    noticed within seconds when its next batch is due.

    Raises:
        InputError: if workers cannot be started.
    """
    is_main = threading.current_thread() is threading.main_thread()
    has_handler = is_main and hasattr(signal, "SIGCHLD")
    before = signal.getsignal(signal.SIGCHLD) if has_handler else None
    try:
        batches = iter(loader)
    except OSError as error:
        # Deleting PyTorch's half-made iterator fails, which Python would print with a traceback.
        hook, sys.unraisablehook = sys.unraisablehook, lambda _: None
        traceback.clear_frames(error.__traceback__)
        sys.unraisablehook = hook
        raise InputError(
            f"worker processes cannot be started ({error.strerror}); use --workers 0, or make room "
            "in /dev/shm"
        ) from error
    if has_handler:
        signal.signal(signal.SIGCHLD, before or signal.SIG_DFL)
    return batches


class _Batches(Dataset[Prepared | InputError]):
    """Batches, indexed by the positions of their items."""

    def __init__(self, items: Dataset[Item], collate: Callable[[list[Item]], Prepared]):
        self._items, self._collate = items, collate

    def __getitem__(self, positions: list[int]) -> Prepared | InputError:
        """Return errors instead of raising them, because PyTorch would wrap them in a traceback."""
        try:
            return self._collate([self._items[position] for position in positions])
        except InputError as error:
            return error


def _shared(batch: Prepared) -> Prepared | InputError:
    """Share a worker's tensors in its main thread, because errors in PyTorch's own thread hang."""
    try:
        if isinstance(batch, Batch) and get_worker_info():
            batch.map_tensors(Tensor.share_memory_)
        return batch
    except RuntimeError as error:
        return InputError(
            f"a batch cannot be handed over ({one_line(error)}); use fewer --workers, or "
            "allow more shared memory (docker run --shm-size 2g) or more open files (ulimit -n)"
        )


def _outlive_interruption(_: int) -> None:
    """Ignore Ctrl-C and the first SIGTERM: the main process handles them and needs its workers.

    A second SIGTERM, as Python sends on exit, ends the worker.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, lambda number, _: signal.signal(number, signal.SIG_DFL))
