"""What all readers are: pictures with labels, readable by position."""

from abc import ABC, abstractmethod
from collections.abc import Sequence, Sized
from dataclasses import dataclass
from typing import Protocol, TypeVar

import numpy as np
from PIL import Image

from blitznet.data.class_table import ClassTable
from blitznet.data.labels import PictureLabels, read_objects
from blitznet.image import OpenPicture
from blitznet.structures import Sample


class Labelled(Protocol):
    """What all pictures with labels have, decoded or not; see `Sample` for the meaning."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""

    @property
    def boxes(self) -> np.ndarray | None:
        """(G, 4) float32 xyxy in pixels."""

    @property
    def labels(self) -> np.ndarray:
        """(G,) int64."""

    @property
    def difficult(self) -> np.ndarray:
        """(G,) bool."""


class Decodable(Protocol):
    """A picture whose pixels can be had; see `OpenPicture`."""

    @property
    def size(self) -> tuple[int, int]:
        """Width and height as a person sees it."""

    @property
    def reductions(self) -> tuple[int, ...]:
        """What `decode` can shrink by, ascending."""

    def decode(self, reduction: int = 1) -> Image.Image:
        """Pixels, shrunk by one of `reductions`."""


@dataclass(frozen=True)
class UnreadSample:
    """A sample whose picture is not decoded yet, so that a view of it can be drawn before.

    Attributes:
        picture: its header is read.
        boxes: as all that follow, see `Sample`.
        labels: of the boxes.
        difficult: of the boxes.
        seg_map: at the size of the whole picture.
        source: name of the picture.
        known_classes: of its labels.
    """

    picture: Decodable
    boxes: np.ndarray | None
    labels: np.ndarray
    difficult: np.ndarray
    seg_map: np.ndarray | None
    source: str
    known_classes: np.ndarray | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.picture.size

    def with_image(self, image: np.ndarray) -> Sample:
        """The sample, once its picture is decoded."""
        return Sample(
            image,
            self.boxes,
            self.labels,
            self.difficult,
            self.seg_map,
            self.source,
            self.known_classes,
        )


Pictures = TypeVar("Pictures", bound=Sized)


class LabelSource(ABC):
    """Pictures of one entry of a data description; a format adds `labels`.

    Attributes:
        table: from the source's class names to the network's ids.
        weight: how often its pictures are drawn in training, relative to those of other sources.
    """

    table: ClassTable
    weight: float = 1.0

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def labels(self, index: int) -> PictureLabels:
        """What the label files say of one picture, unchecked; the picture is not opened.

        Raises:
            LabelError: if a label file is missing or damaged.
        """

    def picture_id(self, index: int) -> str:
        """What the source calls one picture, for results: the file's name without its ending."""
        return self.labels(index).picture.stem

    def open(self, index: int) -> UnreadSample:
        """One picture with its labels, checked.

        Raises:
            PictureError: if the picture cannot be read, as far as its header shows.
            LabelError: for the first thing that is wrong with its labels.
        """
        return open_sample(self.labels(index), self.table)

    def read(self, index: int) -> Sample:
        """As `open`, decoded.

        Raises:
            PictureError: if the picture cannot be read.
            LabelError: for the first thing that is wrong with its labels.
        """
        sample = self.open(index)
        return sample.with_image(np.asarray(sample.picture.decode()))


def open_sample(labels: PictureLabels, table: ClassTable) -> UnreadSample:
    """Read a picture's header and make its labels arrays; raises as `LabelSource.open`."""
    picture = OpenPicture(labels.picture)
    boxes = None
    ids, difficult = np.zeros(0, np.int64), np.zeros(0, bool)
    if labels.objects is not None:
        boxes, ids, difficult = read_objects(labels, picture.size, table)
    return UnreadSample(
        picture=picture,
        boxes=boxes,
        labels=ids,
        difficult=difficult,
        seg_map=labels.seg_map.read(picture.size, table) if labels.seg_map is not None else None,
        source=str(labels.picture),
        known_classes=table.known,
    )


def locate(sources: Sequence[Pictures], position: int) -> tuple[Pictures, int]:
    """The source and the index in it of a position in the concatenation of all sources."""
    for source in sources:
        if position < len(source):
            return source, position
        position -= len(source)
    raise IndexError("position beyond the last source")


class Subset(LabelSource):
    """Some pictures of a source: what a cap or the check of the data leaves.

    Args:
        source: whole.
        indices: positions in it, in the order wanted.
    """

    def __init__(self, source: LabelSource, indices: Sequence[int]):
        self.source = source
        self.indices = np.asarray(indices, np.int64)
        self.table = source.table
        self.weight = source.weight

    def __len__(self) -> int:
        return len(self.indices)

    def labels(self, index: int) -> PictureLabels:
        """See `LabelSource`."""
        return self.source.labels(int(self.indices[index]))

    def picture_id(self, index: int) -> str:
        """See `LabelSource`."""
        return self.source.picture_id(int(self.indices[index]))
