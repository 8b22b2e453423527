"""Segmentation maps made from the outlines of objects (paper, section 4.1)."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from blitznet.classes import BACKGROUND, IGNORE_INDEX
from blitznet.data.labels import ClassTable, ImageLabels, ObjectLabel, is_outside
from blitznet.errors import LabelError
from blitznet.extras import require
from blitznet.structures import IGNORE_LABEL

MIN_COORDINATES = 6  # of a polygon: three points; fewer enclose nothing

_MAX_BITS = 60  # of a run length: without a limit, a number as long as its text takes hours

Mask = dict[str, Any]  # run-length code, as pycocotools has it


@dataclass(frozen=True)
class MapFromInstances:
    """The instances of one image, combined by class.

    A pixel belongs to the smallest instance that covers it, of equal ones to the last (D16). Void
    are ignored objects (COCO's crowds) and the box of an object whose outline covers no pixel, as
    nobody knows which pixels are its own. Objects of classes that the source does not label are not
    painted.

    Attributes:
        labels: of the image.
    """

    labels: ImageLabels

    def read(self, size: tuple[int, int], table: ClassTable) -> np.ndarray:
        """See `MapLabel`.

        Raises:
            LabelError: for the first object whose class, outline or box cannot be used.
            InputError: if pycocotools is not installed.
        """
        require("pycocotools", "train", "a map made from instances")
        from pycocotools import mask

        regions = list(self._regions(size, table))
        regions.sort(key=lambda region: int(mask.area(region[1])), reverse=True)
        pixels = np.zeros(size[0] * size[1], np.uint8)  # column by column, as run lengths count
        for value, region in regions:
            ends = np.cumsum(uncompress(region["counts"])).tolist()
            for start, end in zip(ends[0::2], ends[1::2], strict=False):
                pixels[start:end] = value
        return np.ascontiguousarray(pixels.reshape(size).T)

    def _regions(self, size: tuple[int, int], table: ClassTable) -> Iterator[tuple[int, Mask]]:
        """Map value and pixels of every object that is painted."""
        from pycocotools import mask

        scale = np.array(size if self.labels.in_fractions else (1, 1), float)
        for item in self.labels.objects or ():
            try:
                index = table.id_of(item.name)
                if index == BACKGROUND:
                    continue
                value = IGNORE_INDEX if item.ignore or index == IGNORE_LABEL else index
                region = _read_outline(item.outline, size, scale)
                if region is None or not mask.area(region):
                    value, region = IGNORE_INDEX, _read_box(item, size, scale)
            except LabelError as error:
                raise LabelError(f"{item.where}: {error}") from None
            yield value, region


def _read_outline(outline: Any, size: tuple[int, int], scale: np.ndarray) -> Mask | None:
    """The pixels of one object, rasterised as pycocotools does; None if it has no outline.

    Args:
        outline: see `ObjectLabel`. Polygons are united; those of less than three points enclose
            nothing.
        size: width and height of the image.
        scale: (2,) pixels per unit of x and y in polygons.

    Raises:
        LabelError: if it is damaged or does not fit the image.
    """
    if isinstance(outline, Mapping):
        return _read_run_lengths(outline, size)
    try:
        polygons = [np.array(polygon, float) for polygon in outline or ()]
        if any(polygon.ndim != 1 for polygon in polygons):
            raise ValueError
        points = [p.reshape(-1, 2) * scale for p in polygons if p.size >= MIN_COORDINATES]
    except (TypeError, ValueError, OverflowError):
        raise LabelError("its outline is neither polygons x1, y1, ... nor run lengths") from None
    for polygon in points:
        if not np.isfinite(polygon).all():
            raise LabelError("a polygon has coordinates that are not finite")
        # pycocotools walks along the whole line, however far away it goes.
        (x1, y1), (x2, y2) = polygon.min(axis=0).tolist(), polygon.max(axis=0).tolist()
        if is_outside((x1, y1, x2, y2), size):
            text = f"a polygon spans [{x1:g}, {y1:g}, {x2:g}, {y2:g}]"
            raise LabelError(f"{text}, beyond the image of {size[0]}x{size[1]} pixels")
    return _fill([polygon.ravel().tolist() for polygon in points], size) if points else None


def _fill(polygons: list[list[float]], size: tuple[int, int]) -> Mask:
    """The union of polygons in pixels, at least one."""
    from pycocotools import mask

    region: Mask = mask.merge(mask.frPyObjects(polygons, size[1], size[0]))
    return region


def _read_run_lengths(code: Mapping[str, object], size: tuple[int, int]) -> Mask:
    """A run-length code, checked: pycocotools would read beyond the end of a damaged one."""
    from pycocotools import mask

    width, height = size
    if code.get("size") not in ([height, width], (height, width)):
        text = f"its run-length code is for height and width {code.get('size')}"
        raise LabelError(f"{text}, its image has {[height, width]}")
    counts = code.get("counts")
    if isinstance(counts, str | bytes):
        counts = uncompress(counts)
    if not isinstance(counts, list) or not all(type(n) is int and n >= 0 for n in counts):
        raise LabelError("its run-length code is damaged: counts are whole numbers from 0")
    if sum(counts) != width * height:
        text = f"its run-length code is damaged: it counts {sum(counts)} pixels"
        raise LabelError(f"{text} of {width * height} in the image")
    region: Mask = mask.frPyObjects({"size": [height, width], "counts": counts}, height, width)
    return region


def uncompress(counts: str | bytes) -> list[int]:
    """Run lengths from COCO's text form: LEB128 in steps of five bits, from the third on as deltas.

    Raises:
        LabelError: for a number of more than 60 bits. Other damage gives numbers that do not add
            up to the image.
    """
    lengths: list[int] = []
    value = shift = 0
    for character in counts.encode() if isinstance(counts, str) else counts:
        digit = character - 48
        value |= (digit & 31) << shift
        shift += 5
        if shift > _MAX_BITS:
            raise LabelError("its run-length code is damaged: it holds a number without an end")
        if digit & 32:
            continue
        if digit & 16:
            value -= 1 << shift
        lengths.append(value + lengths[-2] if len(lengths) > 2 else value)
        value = shift = 0
    return lengths


def _read_box(item: ObjectLabel, size: tuple[int, int], scale: np.ndarray) -> Mask:
    """All pixels that the box of an object touches."""
    if item.box is None:
        raise LabelError(item.written)
    if not np.isfinite(item.box).all():
        raise LabelError(f"box {item.written} is not finite")
    box = np.array(item.box) * np.tile(scale, 2)
    x1, y1 = np.floor(box[:2]).clip(0, size).tolist()
    x2, y2 = np.ceil(box[2:]).clip(0, size).tolist()
    return _fill([[x1, y1, x1, y2, x2, y2, x2, y1]], size)
