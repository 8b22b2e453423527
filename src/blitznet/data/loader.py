"""Batches for training, each a pure function of the seed and its position.

Sample number i of a run is drawn by a generator seeded with (seed, i), whoever draws it. So the
number of workers and of processes does not change what is trained on, and a run resumes by its
step alone.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

import numpy as np
from torch.utils.data import Dataset

from blitznet.data.collate import collate_samples
from blitznet.data.mosaic import mosaic
from blitznet.data.pieces import Openable, PictureT, Piece, draw_pieces
from blitznet.data.sampling import DrawOrder
from blitznet.data.source import LabelSource, UnreadSample, locate
from blitznet.data.ssd_policy import Augmentation, apply_change
from blitznet.data.worker_batches import prepare_ahead
from blitznet.errors import InputError
from blitznet.structures import Batch, Sample


class TrainingSamples(Dataset[Sample | InputError]):
    """The endless sequence of augmented samples of a run, by position.

    Attributes:
        sources: concatenated.
        size_at: S of the sample at a position.
        augmentation: strengths.
        order: which picture is drawn at which position.
        seed: of the run.

    Args:
        frequencies: (N,) float, see `DrawOrder`; None = all pictures equally often.
    """

    def __init__(
        self,
        sources: Sequence[LabelSource],
        size_at: Callable[[int], int],
        augmentation: Augmentation,
        seed: int,
        frequencies: np.ndarray | None = None,
    ):
        self.sources = list(sources)
        self.size_at = size_at
        self.augmentation = augmentation
        self.seed = seed
        if frequencies is None:
            frequencies = np.ones(sum(map(len, sources)))
        self.order = DrawOrder(frequencies, seed)

    def name_at(self, position: int) -> str:
        """The picture that is drawn at a position, for messages."""
        source, index = locate(self.sources, self.order.picture_at(position))
        with suppress(InputError):
            return str(source.labels(index).picture)
        return f"picture {index}"

    def __getitem__(self, position: int) -> Sample | InputError:
        """An error is returned, not raised: a worker process would wrap it in a traceback."""
        try:
            return make_sample(self.draw(position, self.sources))
        except InputError as error:
            return error

    def draw(self, position: int, sources: Sequence[Openable[PictureT]]) -> list[Piece[PictureT]]:
        """What the sample at a position is made of.

        Args:
            position: of the run.
            sources: where its pictures are taken from; as many, as long as this run's.

        Returns:
            One piece, or the four of a mosaic.

        Raises:
            InputError: if a picture cannot be opened.
        """
        rng = np.random.default_rng((self.seed, position))
        source, index = locate(sources, self.order.picture_at(position))
        return draw_pieces(source, index, self.size_at(position), self.augmentation, rng)


def make_sample(pieces: Sequence[Piece[UnreadSample]]) -> Sample:
    """The sample that was drawn.

    Raises:
        PictureError: if a picture cannot be decoded.
    """
    done = [apply_change(piece.picture, piece.change, piece.size) for piece in pieces]
    return done[0] if len(done) == 1 else mosaic(done)


def batch_positions(
    first_step: int, last_step: int, global_batch_size: int, rank: int, world_size: int
) -> Iterator[list[int]]:
    """This process's sample positions, a list a step."""
    per_device = global_batch_size // world_size
    for step in range(first_step, last_step):
        start = step * global_batch_size + rank * per_device
        yield list(range(start, start + per_device))


def training_batches(
    samples: TrainingSamples,
    positions: Iterator[list[int]],
    num_workers: int,
    pin_memory: bool = False,
) -> Iterator[Batch]:
    """Batches in order, prepared ahead by worker processes.

    Closing the iterator ends the workers.

    Raises:
        InputError: if a picture of the batch cannot be used.
        WorkerError: if a worker process dies.
    """
    return prepare_ahead(
        samples, samples.name_at, collate_samples, positions, num_workers, pin_memory
    )
