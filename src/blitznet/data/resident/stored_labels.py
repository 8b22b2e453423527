"""The labels of a split whose pictures lie decoded somewhere else, in flat arrays."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from blitznet.data.geometry import Objects
from blitznet.data.resident.layout import Layout


@dataclass(frozen=True)
class StoredPicture:
    """A picture of which the pixels lie in a store.

    Attributes:
        number: its row in `Layout`.
        size: width and height of the whole picture.
        boxes: as all that follow, see `Sample`.
        labels: of the boxes.
        difficult: of the boxes.
        source: name of the picture.
        known_classes: of its labels.
    """

    number: int
    size: tuple[int, int]
    boxes: np.ndarray | None
    labels: np.ndarray
    difficult: np.ndarray
    source: str
    known_classes: np.ndarray | None


class StoredSource:
    """What a `LabelSource` was, without its files.

    Worker processes get it; it holds a few arrays and no object a picture.

    Args:
        first: number of its first picture in `layout`.
        names: of its pictures.
        objects: of its pictures.
        known_classes: (C,) bool, the classes that its labels speak of.
        layout: of all pictures.
    """

    def __init__(
        self,
        first: int,
        names: Sequence[str],
        objects: Iterable[Objects],
        known_classes: np.ndarray | None,
        layout: Layout,
    ):
        objects = list(objects)
        self._first = first
        self._names = np.array(names, np.str_)
        self._known_classes = known_classes
        self._sizes = np.stack((layout.widths, layout.heights), axis=1)[first:][: len(names)]
        self._has_boxes = np.array([one.boxes is not None for one in objects], bool)
        counts = [len(one.labels) for one in objects]
        self._starts = np.concatenate(([0], np.cumsum(counts, dtype=np.int64)))
        nothing = Objects(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, bool))
        rows = [nothing, *objects]  # concatenating none is an error
        self._boxes = np.concatenate([r.boxes for r in rows if r.boxes is not None])
        self._labels = np.concatenate([r.labels for r in rows if r.boxes is not None])
        self._difficult = np.concatenate([r.difficult for r in rows if r.boxes is not None])

    def __len__(self) -> int:
        return len(self._names)

    def open(self, index: int) -> StoredPicture:
        """One picture's labels."""
        rows = slice(self._starts[index], self._starts[index + 1])
        width, height = self._sizes[index].tolist()
        return StoredPicture(
            number=self._first + index,
            size=(width, height),
            boxes=self._boxes[rows] if self._has_boxes[index] else None,
            labels=self._labels[rows],
            difficult=self._difficult[rows],
            source=str(self._names[index]),
            known_classes=self._known_classes,
        )
