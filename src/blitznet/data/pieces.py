"""What a training sample is made of, before any pixel: pictures, and what is done to each."""

from dataclasses import dataclass
from typing import Generic, Protocol, TypeVar

import numpy as np

from blitznet.data.source import Labelled
from blitznet.data.ssd_policy import Augmentation, Change, draw_change

PictureT = TypeVar("PictureT", bound=Labelled)
OpenedT = TypeVar("OpenedT", bound=Labelled, covariant=True)

TILES = 4  # of a mosaic


class Openable(Protocol[OpenedT]):
    """Where pictures are taken from, by position."""

    def __len__(self) -> int: ...

    def open(self, index: int, /) -> OpenedT:
        """One of them with its labels."""


@dataclass(frozen=True)
class Piece(Generic[PictureT]):
    """One picture of a sample.

    Attributes:
        picture: as opened.
        change: what is done to it.
        size: side of the piece in pixels.
    """

    picture: PictureT
    change: Change
    size: int


def draw_pieces(
    source: Openable[PictureT],
    index: int,
    size: int,
    augmentation: Augmentation,
    rng: np.random.Generator,
) -> list[Piece[PictureT]]:
    """Draw everything that is random about a sample.

    Args:
        source: of its pictures.
        index: of the first one.
        size: S of the sample.
        augmentation: strengths.
        rng: the only source of randomness.

    Returns:
        One piece of side S, or four of side S / 2 in reading order, see `blitznet.data.mosaic`.
    """
    tiles = [source.open(index)]
    is_possible = augmentation.mosaic_probability > 0 and size % 2 == 0
    if is_possible and rng.random() < augmentation.mosaic_probability:
        tiles += [source.open(i) for i in rng.integers(len(source), size=TILES - 1).tolist()]
    if len(tiles) == 1 or len({tile.boxes is None for tile in tiles}) > 1:
        del tiles[1:]
    else:
        size //= 2
        augmentation = augmentation.model_copy(update={"zoom_out_probability": 0.0})
    changes = [draw_change(tile.size, tile.boxes, augmentation, rng) for tile in tiles]
    return [Piece(tile, change, size) for tile, change in zip(tiles, changes, strict=True)]
