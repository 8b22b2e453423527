"""Check one image and its labels; each image is decoded once."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from blitznet.classes import BACKGROUND, IGNORE_INDEX
from blitznet.data.labels import ImageLabels, Problem, UsableObject, usable_objects
from blitznet.data.map_from_boxes import is_missing
from blitznet.data.seg_map import MapFile
from blitznet.data.source import LabelSource
from blitznet.detection.anchors import anchors_of
from blitznet.detection.boxes import pairwise_iou
from blitznet.detection.matcher import MATCHING_IOU
from blitznet.errors import ImageError, LabelError
from blitznet.image import read_image, stored_size
from blitznet.model_info import ModelConfig

MOSTLY_VOID = 0.9  # share of void pixels

NO_OBJECT = frozenset({BACKGROUND, IGNORE_INDEX})
_BOXES_AT_ONCE = 8  # compared with up to 131 070 anchors


cached_anchors = lru_cache(maxsize=1)(anchors_of)  # computed once per process


def best_iou(boxes: np.ndarray, anchors: Tensor) -> np.ndarray:
    """(G, 4) and (A, 4) xyxy in one frame to (G,) float32: each box's IoU with its best anchor."""
    parts = torch.split(torch.from_numpy(np.asarray(boxes, np.float32)), _BOXES_AT_ONCE)
    return torch.cat([pairwise_iou(part, anchors).amax(dim=1) for part in parts]).numpy()


@dataclass(eq=False)
class ImageRecord:
    """The result for one image, small even for large images.

    Attributes:
        split: name of the split.
        source: number of the source in the split, from 1.
        index: index of the image in its source.
        path: image file; None if the labels could not be read.
        problems: problems of this image and its labels; duplicates are found later.
        pixel_hash: hash of the upright image's size and pixels; None if not decoded.
        thumbnail: (8, 9) uint8, see `grey_cells`; None if not requested or not decoded.
        has_boxes: whether boxes are labelled.
        labels: (G,) int64 class ids of the boxes that are not ignored; empty after errors.
        shapes: (G, 2) float32 width and height of these boxes as fractions of the image's.
        best_iou: (G,) float32 IoU with the best anchor; empty without a model.
        num_ignored: number of ignored boxes.
        pixels: pixel count by map value; None without a readable map.
    """

    split: str
    source: int
    index: int
    path: Path | None = None
    problems: list[Problem] = field(default_factory=list)
    pixel_hash: bytes | None = None
    thumbnail: np.ndarray | None = None
    has_boxes: bool = False
    labels: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    shapes: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), np.float32))
    best_iou: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    num_ignored: int = 0
    pixels: Mapping[int, int] | None = None

    def problem(self, kind: str, text: str, where: object = None, is_error: bool = True) -> Problem:
        """Create a problem of this image; `where` defaults to its file."""
        where = str(self.path if where is None else where)
        return Problem(kind, where, text, is_error, self.split, self.source, self.index)


def check_image(source: LabelSource, record: ImageRecord, model: ModelConfig | None) -> ImageRecord:
    """Read one image and its labels, and fill in its record.

    Boxes are compared with the anchors of `model`; without a model, only errors are reported.

    Raises:
        InputError: if the labels need a package that is not installed.
    """
    try:
        labels = source.labels(record.index)
    except LabelError as error:
        where = f"{record.split}, source {record.source}, image {record.index + 1}"
        record.problems.append(record.problem("label-file", str(error), where))
        return record
    record.path, record.has_boxes, size = labels.path, labels.objects is not None, labels.size
    try:
        image = read_image(labels.path)
    except ImageError as error:
        text = str(error).removeprefix(f"{labels.path}: ")
        record.problems.append(record.problem("picture", text))
        model = None
    else:
        size = image.size
        record.pixel_hash = hash_pixels(image)
        record.thumbnail = grey_cells(image) if model is not None else None
        if labels.size not in (None, size):
            problem = _size_problem(record, labels, size)
            _, misfits = usable_objects(labels, labels.size, source.table)
            if problem.kind != "rotation" or "box-outside" not in {one.kind for one in misfits}:
                record.problems.append(problem)
                if problem.kind == "rotation":
                    size = labels.size  # the labels fit the stored size, so one problem is enough
    objects, found = usable_objects(labels, size, source.table)
    record.problems += [
        record.problem(one.kind, one.text, one.where, one.is_error) for one in found
    ]
    are_wrong, is_made = any(one.is_error for one in found), not isinstance(labels.seg_map, MapFile)
    map_path = labels.seg_map.path if isinstance(labels.seg_map, MapFile) else labels.path
    # A map made from wrong objects would only repeat their errors.
    if labels.seg_map is not None and size is not None and not (are_wrong and is_made):
        try:
            seg_map = labels.seg_map(size, source.table)
            counts = np.bincount(seg_map.ravel()).tolist()
            record.pixels = {value: count for value, count in enumerate(counts) if count}
            if model is not None and not (are_wrong or is_made):
                record.problems += _missing_objects(record, objects, seg_map)
        except LabelError as error:
            text = str(error).removeprefix(str(map_path)).lstrip(": ")
            record.problems.append(record.problem("map", text, map_path))
    if size is not None and not are_wrong:
        _read_boxes(record, objects, size, model)
        if model is not None:
            record.problems += _emptiness(record, map_path)
    return record


def hash_pixels(image: Image.Image) -> bytes:
    """16-byte hash of an upright RGB image, independent of the file format."""
    key = str(image.size).encode()
    return hashlib.blake2b(np.asarray(image).data, digest_size=16, key=key).digest()


def grey_cells(image: Image.Image) -> np.ndarray:
    """(8, 9) uint8: mean brightness in a grid of 8 rows and 9 columns, for any image size."""
    return np.asarray(image.convert("L").resize((9, 8), Image.Resampling.BOX))


def _read_boxes(
    record: ImageRecord,
    objects: Sequence[UsableObject],
    size: tuple[int, int],
    model: ModelConfig | None,
) -> None:
    """Measure the boxes that are not ignored, and compare them with the network's anchors."""
    counted = [item for item in objects if not item.is_ignored]
    record.num_ignored = len(objects) - len(counted)
    record.labels = np.array([item.class_id for item in counted], np.int64)
    boxes = np.array([item.box for item in counted], np.float32).reshape(-1, 4)
    sides = np.array([*size, *size], np.float32)
    fractions = boxes.clip(0, sides) / sides
    record.shapes = fractions[:, 2:] - fractions[:, :2]
    if model is None:
        return
    record.best_iou = best_iou(fractions * model.image_size, cached_anchors(model))
    shapes = record.shapes * model.image_size
    for item, (width, height), iou in zip(counted, shapes, record.best_iou, strict=True):
        if iou < MATCHING_IOU:  # SSD still gives it the best anchor, but no other
            text = (
                f"{item.label.name} of {width:.1f}x{height:.1f} pixels at {model.name}'s input "
                f"overlaps its best anchor by {iou:.2f} (IoU): matches one anchor only"
            )
            problem = record.problem("tiny-box", text, item.label.where, is_error=False)
            record.problems.append(problem)


def _missing_objects(
    record: ImageRecord, objects: Sequence[UsableObject], seg_map: np.ndarray
) -> Iterator[Problem]:
    """Objects that the map takes for background."""
    boxes = np.array([item.box for item in objects], np.float32).reshape(-1, 4)
    boxes = boxes.clip(0, 2 * seg_map.shape[::-1])  # as training reads them
    ids = np.array([item.class_id for item in objects], np.int64)
    for index in np.flatnonzero(is_missing(boxes, ids, seg_map)).tolist():
        label = objects[index].label
        text = (
            f"the map shows no {label.name} in the box {label.written}; with void_missing: true in "
            "the data description, training does not take it for background"
        )
        yield record.problem("not-in-map", text, label.where, is_error=False)


def _size_problem(record: ImageRecord, labels: ImageLabels, size: tuple[int, int]) -> Problem:
    """The problem of labels whose stated size differs from the upright image's."""
    assert labels.size is not None
    stated, actual = (f"{width}x{height}" for width, height in (labels.size, size))
    if labels.size == size[::-1] and stored_size(labels.path) == labels.size:
        text = (
            f"the camera's orientation (EXIF) turns it to {actual}, its labels are for {stated} "
            "as stored; turn the pixels and remove the tag, or label it upright"
        )
        return record.problem("rotation", text)
    text = f"is {actual} but its labels state {stated}; were they made for another version of it?"
    return record.problem("other-size", text, is_error=False)


def _emptiness(record: ImageRecord, map_path: Path) -> Iterator[Problem]:
    pixels = record.pixels or {}
    void = pixels.get(IGNORE_INDEX, 0) / max(sum(pixels.values()), 1)
    if void >= MOSTLY_VOID:
        text = f"the map is {100 * void:.0f} % void"
        yield record.problem("mostly-void", text, map_path, is_error=False)
    shows_object = len(record.labels) or record.num_ignored or pixels.keys() - NO_OBJECT
    if (record.has_boxes or pixels) and not shows_object:
        yield record.problem("empty-picture", "shows no labelled object", is_error=False)
