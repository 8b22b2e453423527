"""Unchecked labels as readers return them, their checks, and the meaning of class names.

Readers only parse files. Names and boxes are checked here, for training (which raises the first
error) and for `blitznet check-data` (which lists all problems).
"""

import unicodedata
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import NamedTuple

import numpy as np

from blitznet.classes import BACKGROUND, IGNORE_INDEX
from blitznet.errors import LabelError, shown
from blitznet.structures import IGNORE_LABEL

IGNORE = "ignore"  # in a label map: ignore objects of this name

_NEAR = 0.65  # difflib ratio: accepts typos and plurals, but not other words

_FLAGS = {"0": False, "0.0": False, "false": False, "1": True, "1.0": True, "true": True}

# Maximum per image; a file with more is a mistake or an attack.
MAX_OBJECTS = 100_000

# How far a box may reach beyond its image: tools round, and COCO's decimals overshoot slightly.
OUTSIDE_TOLERANCE_PIXELS = 2.0
OUTSIDE_TOLERANCE_SHARE = 0.01  # share of the image's side


class ClassTable:
    """The meaning of a source's class names, and which classes the source labels.

    Args:
        names: class names of the network, background first.
        label_map: from names of the source to names of the network; None = background, "ignore" =
            ignored boxes and void pixels. The key "*" matches all names that are neither here nor
            in `names`. Other names stand for themselves.
        labels_only: classes that the source labels completely; labels of other classes are dropped,
            and unlabelled regions may contain them. None = all classes.

    Attributes:
        names: same as the argument.
        label_map: copy of the argument.
        known: (C,) bool, classes that the source labels; background is always known.

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
        """The class id for a name of the source; BACKGROUND = drop it, IGNORE_LABEL = ignore it.

        Raises:
            LabelError: for an unknown name, suggesting the closest known one.
        """
        is_other = name not in (IGNORE, *self.label_map, *self.names[1:])
        target = self.label_map.get("*" if is_other and "*" in self.label_map else name, name)
        if target is None:
            return BACKGROUND
        if target == IGNORE:
            return IGNORE_LABEL
        if target not in self.names[1:]:
            drop = f"; to drop its labels, add label_map: {{{name!r}: null}} to the source"
            raise LabelError(_unknown(name, [*self.names[1:], *self.label_map], drop))
        index = self.names.index(target)
        return index if self.known[index] else BACKGROUND

    def map_id(self, name: str) -> int | None:
        """The map value for a name of the source; None if the name is unknown."""
        if name == self.names[BACKGROUND]:
            return BACKGROUND
        try:
            index = self.id_of(name)
        except LabelError:
            return None
        return IGNORE_INDEX if index == IGNORE_LABEL else index


def _unknown(name: str, known: Sequence[str], otherwise: str = "") -> str:
    """Say what a name may mean; `otherwise` follows if it is similar to none of the known."""
    text = f"unknown class {shown(name)}"
    if unicodedata.normalize("NFC", name) in {unicodedata.normalize("NFC", one) for one in known}:
        return f"{text}: the class has the same letters in another Unicode form; use NFC in both"
    near = get_close_matches(name, known, n=1, cutoff=_NEAR)
    return text + (f"; did you mean {near[0]!r}?" if near else otherwise)


def read_flag(value: object, what: str) -> bool:
    """Read a flag of a label file: 0, 1, true or false, as a number, bool or text.

    A missing flag (None or "") is False.

    Raises:
        LabelError: for anything else; `what` names the flag and its place.
    """
    text = str(0 if value in (None, "") else value).strip().lower()
    if text not in _FLAGS:
        raise LabelError(f"{what} is {shown(value)}; it needs 0 or 1")
    return _FLAGS[text]


@dataclass(frozen=True)
class Problem:
    """One finding of a check.

    Attributes:
        kind: key of `check.check_report.TITLES`.
        where: file, and line or object in it.
        text: what is wrong and, if it helps, what to do.
        is_error: whether training would fail or suffer; otherwise it is a warning.
        split: name of the split.
        source: number of the source in the split, from 1; None if it concerns no single source.
        index: index of the image in its source; None if it concerns no single image.
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
    """One object as written in its file.

    Attributes:
        name: class name in the source; None if its class cannot be read.
        box: xyxy in continuous pixels from 0, or in fractions, see `ImageLabels`; None if it cannot
            be read.
        where: file, and line or object in it.
        written: the text of the box, for messages; if box or class cannot be read, the reason.
        ignore: whether to ignore the object: VOC's difficult, COCO's crowd.
        outline: for maps made from instances, unchecked: polygons as flat lists x1, y1, x2, y2, ...
            in the units of `box`, or a COCO run-length code; None if there is none.
    """

    name: str | None
    box: tuple[float, float, float, float] | None
    where: str
    written: str
    ignore: bool = False
    outline: object = None


# Reads or makes the segmentation map of an image of a size (width, height): (H, W) uint8 class ids,
# 255 = void. Raises LabelError if that is impossible or the map does not fit the image.
ReadMap = Callable[[tuple[int, int], ClassTable], np.ndarray]


@dataclass(frozen=True)
class ImageLabels:
    """The labels of one image in one source.

    Attributes:
        path: image file.
        objects: labelled objects; None = boxes are not labelled.
        seg_map: reads or makes the segmentation map; None = pixels are not labelled.
        size: width and height stated in the label file, if any.
        in_fractions: whether boxes and outlines are fractions of the image's width and height.
        name: name of the image in results; "" = the file name without extension.
    """

    path: Path
    objects: tuple[ObjectLabel, ...] | None
    seg_map: ReadMap | None = None
    size: tuple[int, int] | None = None
    in_fractions: bool = False
    name: str = ""


class UsableObject(NamedTuple):
    """A checked object.

    Attributes:
        label: the object as written in its file.
        box: xyxy in pixels of the image; may reach slightly beyond it.
        class_id: from 1, or IGNORE_LABEL if the label map ignores the class.
        is_ignored: whether the object or its class is ignored.
    """

    label: ObjectLabel
    box: tuple[float, float, float, float]
    class_id: int
    is_ignored: bool


def usable_objects(
    labels: ImageLabels, size: tuple[int, int] | None, table: ClassTable
) -> tuple[list[UsableObject], list[Problem]]:
    """Check the objects of one image; of several with the same class and box, keep the first.

    `size` is width and height of the upright image; None = unknown, boxes may lie anywhere.

    Returns:
        The usable objects, and all problems.
    """
    found: dict[tuple[object, ...], UsableObject] = {}
    problems: list[Problem] = []
    for item in labels.objects or ():
        checked = _check(item, labels, size, table)
        if isinstance(checked, Problem):
            problems.append(checked)
        elif checked is not None and found.setdefault(checked[1:], checked) is not checked:
            text = f"{item.name} has the box {item.written} twice; it counts once"
            problems.append(Problem("box-twice", item.where, text, is_error=False))
    return list(found.values()), problems


def _check(
    item: ObjectLabel, labels: ImageLabels, size: tuple[int, int] | None, table: ClassTable
) -> UsableObject | Problem | None:
    """The object or its problem; None if the label map drops it."""
    if item.name is None:
        return Problem("unknown-class", item.where, item.written)
    try:
        index = table.id_of(item.name)
    except LabelError as error:
        return Problem("unknown-class", item.where, str(error))
    if index == BACKGROUND:
        return None
    if item.box is None:
        return Problem("label-file", item.where, item.written)
    x1, y1, x2, y2 = item.box
    if not np.isfinite(item.box).all():
        return Problem("box-not-finite", item.where, f"box {item.written} is not finite")
    if not (x2 > x1 and y2 > y1):
        return Problem("box-without-area", item.where, f"box {item.written} has no area")
    if size is not None:
        width, height = size if labels.in_fractions else (1, 1)
        x1, y1, x2, y2 = x1 * width, y1 * height, x2 * width, y2 * height
        if is_outside((x1, y1, x2, y2), size):
            text = f"box {item.written} reaches beyond the image of {size[0]}x{size[1]} pixels"
            return Problem("box-outside", item.where, text)
    return UsableObject(item, (x1, y1, x2, y2), index, item.ignore or index == IGNORE_LABEL)


def read_objects(
    labels: ImageLabels, size: tuple[int, int], table: ClassTable
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The usable objects of one image as arrays; see `usable_objects`.

    Returns:
        (G, 4) float32 xyxy in pixels, clipped to the image; (G,) int64 class ids, IGNORE_LABEL if
        the label map ignores the class; (G,) bool, whether difficult or otherwise ignored.

    Raises:
        LabelError: for the first error.
    """
    objects, problems = usable_objects(labels, size, table)
    for problem in problems:
        if problem.is_error:
            raise LabelError(str(problem))
    boxes = np.array([item.box for item in objects], np.float32).reshape(-1, 4)
    ids = np.array([item.class_id for item in objects], np.int64)
    is_ignored = np.array([item.is_ignored for item in objects], bool)
    return boxes.clip(0, np.array([*size, *size], np.float32)), ids, is_ignored


def read_labels(
    labels: ImageLabels, size: tuple[int, int], table: ClassTable
) -> tuple[np.ndarray | None, np.ndarray, np.ndarray, np.ndarray | None]:
    """All labels of one image as arrays; for the arguments, see `usable_objects`.

    Returns:
        `boxes`, `labels`, `difficult` and `seg_map` of `Sample`, in pixels of the image.

    Raises:
        LabelError: for the first error.
    """
    boxes, ids, difficult = read_objects(labels, size, table)
    seg_map = None if labels.seg_map is None else labels.seg_map(size, table)
    return None if labels.objects is None else boxes, ids, difficult, seg_map


def is_outside(box: tuple[float, float, float, float], size: tuple[int, int]) -> bool:
    """Whether a box reaches further beyond the image than rounding explains."""
    beyond = np.maximum(np.negative(box[:2]), np.subtract(box[2:], size))
    allowed = np.maximum(OUTSIDE_TOLERANCE_PIXELS, np.multiply(OUTSIDE_TOLERANCE_SHARE, size))
    return bool((beyond > allowed).any())
