"""Segmentation maps made from the outlines of objects (paper, section 4.1)."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from blitznet.classes import BACKGROUND, IGNORE_INDEX
from blitznet.data.labels import ClassTable, ImageLabels, ObjectLabel, is_outside
from blitznet.errors import LabelError
from blitznet.extras import require
from blitznet.structures import IGNORE_LABEL

MIN_COORDINATES = 6  # three points; a polygon with fewer encloses nothing

_MAX_BITS = 60  # per run length; without a limit, decoding one endless number takes hours

Runs = list[int]  # lengths of runs in column order, starting with pixels outside


def map_from_instances(labels: ImageLabels, size: tuple[int, int], table: ClassTable) -> np.ndarray:
    """Paint a segmentation map from the instances of one image.

    A pixel belongs to the smallest instance that covers it; among equal sizes, to the last (D16).
    Ignored objects (COCO's crowds) are void. So is the box of an object whose outline covers no
    pixel, because its pixels are unknown. Classes that the source does not label are not painted.
    For `size` and the result, see `ReadMap`.

    Raises:
        LabelError: for the first object whose class, outline or box cannot be used.
        InputError: if pycocotools is not installed.
    """
    require("pycocotools", "train", "a map made from instances")
    scale = np.array(size if labels.in_fractions else (1, 1), float)
    regions: list[tuple[int, Runs]] = []  # map value and pixels
    for item in labels.objects or ():
        try:
            if item.name is None:
                raise LabelError(item.written)
            index = table.id_of(item.name)
            if index == BACKGROUND:
                continue
            value = IGNORE_INDEX if item.ignore or index == IGNORE_LABEL else index
            runs = _read_outline(item.outline, size, scale)
            if not any(runs[1::2]):
                value, runs = IGNORE_INDEX, _read_box(item, size, scale)
        except LabelError as error:
            raise LabelError(f"{item.where}: {error}") from None
        regions.append((value, runs))
    regions.sort(key=lambda region: sum(region[1][1::2]), reverse=True)
    pixels = np.zeros(size[0] * size[1], np.uint8)  # column by column, like run lengths
    for value, runs in regions:
        ends = np.cumsum(runs).tolist()
        for start, end in zip(ends[0::2], ends[1::2], strict=False):
            pixels[start:end] = value
    return np.ascontiguousarray(pixels.reshape(size).T)


def _read_outline(outline: Any, size: tuple[int, int], scale: np.ndarray) -> Runs:
    """Rasterise an outline, see `ObjectLabel`; empty without a polygon of at least three points.

    Several polygons form a union; `scale` is (2,) pixels per unit of their x and y.
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
        # pycocotools traces the whole line, however far it leaves the image.
        (x1, y1), (x2, y2) = polygon.min(axis=0).tolist(), polygon.max(axis=0).tolist()
        if is_outside((x1, y1, x2, y2), size):
            text = f"a polygon spans [{x1:g}, {y1:g}, {x2:g}, {y2:g}]"
            raise LabelError(f"{text}, beyond the image of {size[0]}x{size[1]} pixels")
    return _fill([polygon.ravel().tolist() for polygon in points], size) if points else []


def _fill(polygons: list[list[float]], size: tuple[int, int]) -> Runs:
    """The union of at least one polygon."""
    from pycocotools import mask

    return uncompress(mask.merge(mask.frPyObjects(polygons, size[1], size[0]))["counts"])


def _read_run_lengths(code: Mapping[str, object], size: tuple[int, int]) -> Runs:
    """Decode and check run lengths: pycocotools would read beyond the end of damaged ones."""
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
    return counts


def uncompress(counts: str | bytes) -> Runs:
    """Decode COCO's compressed run lengths: LEB128 in groups of 5 bits, deltas from the fourth on.

    Raises:
        LabelError: for a number of more than 60 bits. After other damage, the lengths do not add up
            to the image's size.
    """
    lengths: Runs = []
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


def _read_box(item: ObjectLabel, size: tuple[int, int], scale: np.ndarray) -> Runs:
    """All pixels that an object's box touches."""
    if item.box is None:
        raise LabelError(item.written)
    if not np.isfinite(item.box).all():
        raise LabelError(f"box {item.written} is not finite")
    box = np.array(item.box) * np.tile(scale, 2)
    x1, y1 = np.floor(box[:2]).clip(0, size).tolist()
    x2, y2 = np.ceil(box[2:]).clip(0, size).tolist()
    return _fill([[x1, y1, x1, y2, x2, y2, x2, y1]], size)
