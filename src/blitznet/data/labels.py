"""What a reader finds in label files, before anything is checked; the checks; the classes.

A reader says where things are written; what they mean and whether they can be used is decided
here, for training (the first problem is raised) and for `blitznet check-data` (all are listed).
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import Protocol

import numpy as np

from blitznet.classes import BACKGROUND, IGNORE_INDEX
from blitznet.errors import LabelError
from blitznet.structures import IGNORE_LABEL

IGNORE = "ignore"  # in a label map: is ignored

# A box may reach beyond its image by this much: tools round, and COCO's decimals do.
OUTSIDE_TOLERANCE_PIXELS = 2.0
OUTSIDE_TOLERANCE_SHARE = 0.01  # of the side


class ClassTable:
    """What a source's class names stand for, and which classes it labels at all.

    Args:
        names: class names of the network, background first.
        label_map: from names of the source to names of the network; None = is background there,
            "ignore" = a box that is ignored, void pixels. Other names stand for themselves.
        labels_only: names of the network that the source labels everywhere; labels of other classes
            are left out, and of these classes nothing is known where nothing else is labelled.
            None = all.

    Attributes:
        names: as given.
        label_map: as given, a copy.
        known: (C,) bool, the classes that the source labels; background is always known.

    Raises:
        LabelError: if the label map or `labels_only` names a class that the network does not have.
    """

    def __init__(
        self,
        names: Sequence[str],
        label_map: Mapping[str, str | None] | None = None,
        labels_only: Sequence[str] | None = None,
    ):
        self.names = tuple(names)
        self.label_map = dict(label_map or {})
        for name in self.label_map.values():
            if name not in (None, IGNORE, *self.names[1:]):
                raise LabelError(f"label_map: {_unknown(str(name), self.names[1:])}")
        for name in labels_only or ():
            if name not in self.names[1:]:
                raise LabelError(f"labels_only: {_unknown(name, self.names[1:])}")
        self.known = np.array([labels_only is None or name in labels_only for name in self.names])
        self.known[BACKGROUND] = True

    def id_of(self, name: str) -> int:
        """The class id of a source's name; BACKGROUND = is left out, IGNORE_LABEL = is ignored.

        Raises:
            LabelError: for a name that stands for nothing, with the nearest known one.
        """
        target = self.label_map.get(name, name)
        if target is None:
            return BACKGROUND
        if target == IGNORE:
            return IGNORE_LABEL
        if target not in self.names[1:]:
            raise LabelError(_unknown(name, [*self.names[1:], *self.label_map]))
        index = self.names.index(target)
        return index if self.known[index] else BACKGROUND

    def map_id(self, name: str) -> int | None:
        """The value in segmentation maps of a source's name; None = it stands for nothing."""
        if name == self.names[BACKGROUND]:
            return BACKGROUND
        try:
            index = self.id_of(name)
        except LabelError:
            return None
        return IGNORE_INDEX if index == IGNORE_LABEL else index


def _unknown(name: str, known: Sequence[str]) -> str:
    near = get_close_matches(name, known, n=1)
    return f"unknown class {name!r}" + (f"; did you mean {near[0]!r}?" if near else "")


@dataclass(frozen=True)
class Problem:
    """One finding.

    Attributes:
        kind: key of `check.report.TITLES`.
        where: file, and line or object in it.
        text: what is wrong and, where that helps, what to do.
        is_error: training would suffer or fail; otherwise only worth a look.
        split: that it is in, as the data description names it.
        source: number of the entry in the split, from 1; None = not of one source.
        index: of the image in its source; None = not of one image.
    """

    kind: str
    where: str
    text: str
    is_error: bool = True
    split: str = ""
    source: int | None = None
    index: int | None = None

    def __str__(self) -> str:
        return f"{self.where}: {self.text}"


@dataclass(frozen=True)
class ObjectLabel:
    """One object as its file has it.

    Attributes:
        name: class, in the source's words.
        box: xyxy in continuous pixels from 0, or in fractions, see `PictureLabels`; None = it could
            not be read.
        where: file, and line or object in it.
        written: the box as it is written, for messages.
        problem: why `box` is None.
        ignore: VOC's difficult or COCO's crowd, which is ignored.
        outline: for maps made from instances, unchecked: polygons as flat lists x1, y1, x2, y2, ...
            in the units of `box`, or a COCO run-length code; None = the object has none.
    """

    name: str
    box: tuple[float, float, float, float] | None
    where: str
    written: str
    problem: str = ""
    ignore: bool = False
    outline: object = None


class MapLabel(Protocol):
    """Where the classes of an image's pixels come from."""

    def read(self, size: tuple[int, int], table: ClassTable) -> np.ndarray:
        """(H, W) uint8 class ids of the network, 255 = void, for an image of width and height.

        Raises:
            LabelError: if the map cannot be read or does not fit.
        """


@dataclass(frozen=True)
class PictureLabels:
    """What one source says of one image.

    Attributes:
        picture: the file.
        objects: None = boxes are not labelled; empty = there is no object.
        seg_map: None = pixels are not labelled.
        size: width and height that the label file states; None = it does not.
        in_fractions: boxes and outlines are fractions of the image's width and height.
        name: what the source calls the image, for results; "" = the file's name without ending.
    """

    picture: Path
    objects: tuple[ObjectLabel, ...] | None
    seg_map: MapLabel | None = None
    size: tuple[int, int] | None = None
    in_fractions: bool = False
    name: str = ""


def find_object_problems(
    labels: PictureLabels, size: tuple[int, int] | None, table: ClassTable
) -> Iterator[Problem]:
    """Everything that is wrong with the objects of one image.

    Args:
        labels: of the image.
        size: its width and height as a person sees it; None = unknown, then boxes may lie anywhere.
        table: of the source.
    """
    for item in labels.objects or ():
        try:
            index = table.id_of(item.name)
        except LabelError as error:
            yield Problem("unknown-class", item.where, str(error))
            continue
        if index == BACKGROUND:
            continue
        if item.box is None:
            yield Problem("label-file", item.where, item.problem)
        elif not np.isfinite(item.box).all():
            yield Problem("box-not-finite", item.where, f"box {item.written} is not finite")
        elif not (item.box[2] > item.box[0] and item.box[3] > item.box[1]):
            yield Problem("box-without-area", item.where, f"box {item.written} has no area")
        elif size is not None and is_outside(_in_pixels(item.box, labels, size), size):
            text = f"box {item.written} reaches beyond the image of {size[0]}x{size[1]} pixels"
            yield Problem("box-outside", item.where, text)


def read_objects(
    labels: PictureLabels, size: tuple[int, int] | None, table: ClassTable
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The objects of one image; arguments as of `find_object_problems`.

    Returns:
        (G, 4) float32 xyxy in pixels, within the image; (G,) int64 class ids from 1 on; (G,) bool
        difficult. An ignored object without a class of the network has IGNORE_LABEL.

    Raises:
        LabelError: for the first problem.
    """
    for problem in find_object_problems(labels, size, table):
        raise LabelError(str(problem))
    boxes, ids, difficult = [], [], []
    for item in labels.objects or ():
        index = table.id_of(item.name)
        if index == BACKGROUND or item.box is None:
            continue
        boxes.append(_in_pixels(item.box, labels, size))
        ids.append(index)
        difficult.append(item.ignore or index == IGNORE_LABEL)
    array = np.array(boxes, np.float32).reshape(-1, 4)
    if size is not None:
        array = array.clip(0, np.array([*size, *size], np.float32))
    return array, np.array(ids, np.int64), np.array(difficult, bool)


def read_labels(
    labels: PictureLabels, size: tuple[int, int], table: ClassTable
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray, np.ndarray | None]:
    """Everything that is said of one image as arrays; arguments as of `find_object_problems`.

    Returns:
        `boxes`, `labels`, `difficult` and `seg_map` of `Sample`, in pixels of the image.

    Raises:
        LabelError: for the first problem.
    """
    boxes, ids, difficult = None, np.zeros(0, np.int64), np.zeros(0, bool)
    if labels.objects is not None:
        boxes, ids, difficult = read_objects(labels, size, table)
    seg_map = None if labels.seg_map is None else labels.seg_map.read(size, table)
    return boxes, ids, difficult, seg_map


def _in_pixels(
    box: tuple[float, float, float, float], labels: PictureLabels, size: tuple[int, int] | None
) -> tuple[float, float, float, float]:
    if not labels.in_fractions or size is None:
        return box
    width, height = size
    return box[0] * width, box[1] * height, box[2] * width, box[3] * height


def is_outside(box: tuple[float, float, float, float], size: tuple[int, int]) -> bool:
    """Whether a box reaches further out than rounding explains."""
    beyond = np.maximum(np.negative(box[:2]), np.subtract(box[2:], size))
    allowed = np.maximum(OUTSIDE_TOLERANCE_PIXELS, np.multiply(OUTSIDE_TOLERANCE_SHARE, size))
    return bool((beyond > allowed).any())
