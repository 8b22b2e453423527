"""An entry of a data description, and the reader that it opens: labelled images by position."""

from abc import ABC, abstractmethod
from collections.abc import Sequence, Sized
from pathlib import Path
from typing import TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from blitznet.data.labels import ClassTable, PictureLabels, read_labels
from blitznet.image import read_picture
from blitznet.structures import Sample

Images = TypeVar("Images", bound=Sized)


class LabelSource(ABC):
    """Images of one entry of a data description; a format adds `labels`.

    Attributes:
        table: from the source's class names to the network's ids.
        weight: how often its images are drawn in training, relative to those of other sources.
    """

    table: ClassTable
    weight: float = 1.0

    @abstractmethod
    def __len__(self) -> int: ...

    @abstractmethod
    def labels(self, index: int) -> PictureLabels:
        """What the label files say of one image, unchecked; the image is not opened.

        Raises:
            LabelError: if a label file is missing or damaged.
        """

    def picture_id(self, index: int) -> str:
        """What the source calls one image, for results: the file's name without its ending."""
        return self.labels(index).picture.stem

    def read(self, index: int) -> Sample:
        """One image, decoded, with its labels.

        Raises:
            PictureError: if the image cannot be read.
            LabelError: for the first thing that is wrong with its labels.
        """
        labels = self.labels(index)
        image = read_picture(labels.picture)
        arrays = read_labels(labels, image.size, self.table)
        return Sample(np.asarray(image), *arrays, str(labels.picture), self.table.known)


class Subset(LabelSource):
    """Some images of a source: what a cap or the check of the data leaves.

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


class SourceEntry(BaseModel, ABC):
    """One source of a split; a format adds `format` and where its files are.

    Attributes:
        boxes: whether boxes are read.
        label_map: from the source's class names to the network's; null = background there,
            "ignore" = is ignored.
        labels_only: classes that the source labels; of the others nothing is known there. None =
            all.
        weight: how often its images are drawn in training, relative to those of other sources.
        max_pictures: maximum number of images; a random choice, always the same. None = all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    boxes: bool = True
    label_map: dict[str, str | None] = Field(default_factory=dict)
    labels_only: tuple[str, ...] | None = None
    weight: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    max_pictures: int | None = Field(default=None, ge=1)

    @property
    def is_labelled(self) -> bool:
        """Whether it has labels to read; without any, its images can be predicted on."""
        return True

    @abstractmethod
    def open_all(self, folder: Path, table: ClassTable) -> LabelSource:
        """The reader of all its images; paths are relative to `folder`."""

    def open(self, folder: Path, names: Sequence[str]) -> LabelSource:
        """The reader of its images, up to the maximum.

        Args:
            folder: what relative paths are relative to.
            names: class names of the network, background first.

        Raises:
            LabelError: if it cannot be opened.
        """
        source = self.open_all(folder, ClassTable(names, self.label_map, self.labels_only))
        source.weight = self.weight
        if self.max_pictures is None or self.max_pictures >= len(source):
            return source
        chosen = np.random.default_rng(0).permutation(len(source))[: self.max_pictures]
        return Subset(source, np.sort(chosen).tolist())


def locate(sources: Sequence[Images], position: int) -> tuple[Images, int]:
    """The source and the index in it of a position in the concatenation of all sources."""
    for source in sources:
        if position < len(source):
            return source, position
        position -= len(source)
    raise IndexError("position beyond the last source")
