"""What the check finds in one image and its labels; each image is decoded once."""

import hashlib
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from blitznet.boxes import pairwise_iou
from blitznet.classes import BACKGROUND, IGNORE_INDEX
from blitznet.data.check.duplicates import grey_cells
from blitznet.data.class_table import ClassTable
from blitznet.data.labels import ObjectLabel, PictureLabels, Problem, find_object_problems
from blitznet.data.labels import read_objects as objects_as_arrays
from blitznet.data.source import LabelSource
from blitznet.detection.anchors import anchors_of
from blitznet.errors import LabelError, PictureError
from blitznet.image import read_picture
from blitznet.model_info import ModelConfig

# From this IoU on an anchor answers for a box (SSD, section 2.2: detection.matcher).
MATCHING_IOU = 0.5
MOSTLY_VOID = 0.9  # share of a map

_BOXES_AT_ONCE = 8  # times 131 070 anchors at most


@dataclass(frozen=True)
class AnchorSet:
    """The anchors of the network that the data is checked for.

    Attributes:
        model: its name.
        image_size: S, side of its input in pixels.
        anchors: (A, 4) float32 xyxy, input pixels.
    """

    model: str
    image_size: int
    anchors: Tensor

    @classmethod
    def of(cls, config: ModelConfig) -> "AnchorSet":
        """Of any member of the family."""
        return cls(config.name, config.image_size, anchors_of(config))

    def best_iou(self, boxes: np.ndarray) -> np.ndarray:
        """(G, 4) xyxy in fractions of the image to (G,) float32: each one's IoU with its best."""
        scaled = torch.from_numpy(np.asarray(boxes, np.float32)) * self.image_size
        best = [torch.zeros(0)]
        for start in range(0, len(scaled), _BOXES_AT_ONCE):
            part = scaled[start : start + _BOXES_AT_ONCE]
            best.append(pairwise_iou(part, self.anchors).amax(dim=1))
        return torch.cat(best).numpy()


@dataclass(frozen=True, eq=False)
class PictureRecord:
    """What the check keeps of one image: small, whatever the image's size.

    Attributes:
        image: the file; None where its labels could not be read.
        problems: of the image and its labels alone.
        pixel_hash: of its size and its upright pixels; None = it could not be decoded.
        look: (8, 9) uint8, see `grey_cells`; None = not asked for, or not decoded.
        has_boxes: whether boxes are labelled.
        labels: (G,) int64 class ids of the boxes that count; none where an object has a problem.
        shapes: (G, 2) float32 their width and height, fractions of the image's.
        best_iou: (G,) float32 with anchors; empty without them.
        num_ignored: boxes that neither help nor hurt.
        pixels: (256,) int64 pixels of the map by value; None = there is none that can be read.
    """

    picture: Path | None
    problems: tuple[Problem, ...]
    pixel_hash: bytes | None = None
    look: np.ndarray | None = None
    has_boxes: bool = False
    labels: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    shapes: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), np.float32))
    best_iou: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    num_ignored: int = 0
    pixels: np.ndarray | None = None


def check_picture(
    source: LabelSource, index: int, where: str, anchors: AnchorSet | None
) -> PictureRecord:
    """Read one image with everything that is said of it.

    Args:
        source: of the image.
        index: in the source.
        where: what to call the image where its labels cannot be read.
        anchors: None = errors alone are looked for.

    Raises:
        InputError: if a package is missing that its labels need.
    """
    try:
        labels = source.labels(index)
    except LabelError as error:
        return PictureRecord(None, (Problem("label-file", where, str(error)),))
    table, path = source.table, str(labels.picture)
    problems: list[Problem] = []
    image = None
    try:
        image = read_picture(labels.picture)
    except PictureError as error:
        problems.append(Problem("picture", path, str(error).removeprefix(f"{path}: ")))
    size = image.size if image is not None else labels.size
    if image is not None and labels.size not in (None, image.size):
        size_problem = _size_problem(labels, image.size)
        problems.append(size_problem)
        if size_problem.kind == "rotation":
            size = labels.size  # boxes and map fit there; one line says what is wrong
    object_problems = list(find_object_problems(labels, size, table))
    problems += object_problems
    pixels = None
    # A map that is made from objects would only repeat what is wrong with them.
    if (
        labels.seg_map is not None
        and size is not None
        and not (object_problems and map_file(labels) is None)
    ):
        try:
            pixels = np.bincount(labels.seg_map.read(size, table).ravel(), minlength=256)
        except LabelError as error:
            problems.append(_map_problem(labels, str(error)))
    if image is None:
        return PictureRecord(labels.picture, tuple(problems))

    ids, shapes, best_iou = np.zeros(0, np.int64), np.zeros((0, 2), np.float32), np.zeros(0)
    num_ignored = 0
    if not object_problems:
        assert size is not None
        boxes, ids, ignored = objects_as_arrays(labels, size, table)
        fractions = boxes / np.array([*size, *size], np.float32)
        items = [
            item for item, skip in zip(_labelled(labels, table), ignored, strict=True) if not skip
        ]
        fractions, ids, num_ignored = fractions[~ignored], ids[~ignored], int(ignored.sum())
        shapes = fractions[:, 2:] - fractions[:, :2]
        if anchors is not None:
            best_iou = anchors.best_iou(fractions)
            problems += _tiny_boxes(items, shapes, best_iou, anchors)
            problems += _emptiness(labels, num_objects=len(boxes), pixels=pixels)
    return PictureRecord(
        labels.picture,
        tuple(problems),
        pixel_hash=hash_pixels(image),
        look=grey_cells(image) if anchors is not None else None,
        has_boxes=labels.objects is not None,
        labels=ids,
        shapes=shapes,
        best_iou=best_iou,
        num_ignored=num_ignored,
        pixels=pixels,
    )


def hash_pixels(image: Image.Image) -> bytes:
    """16 bytes that are equal for equal images, however they are stored.

    Args:
        image: upright RGB.
    """
    digest = hashlib.blake2b(str(image.size).encode(), digest_size=16)
    digest.update(np.asarray(image).data)
    return digest.digest()


def map_file(labels: PictureLabels) -> Path | None:
    """The file of the image's map; None where there is no map or it is made from objects."""
    path = getattr(labels.seg_map, "path", None)
    return path if isinstance(path, Path) else None


def _size_problem(labels: PictureLabels, size: tuple[int, int]) -> Problem:
    """Labels that state another size than the image's as a person sees it."""
    assert labels.size is not None
    path = str(labels.picture)
    stated, actual = (f"{width}x{height}" for width, height in (labels.size, size))
    if labels.size == size[::-1] and _stored_size(labels.picture) == labels.size:
        return Problem(
            "rotation",
            path,
            f"the camera's orientation (EXIF) turns it to {actual}, its labels are for {stated} "
            "as stored; turn the pixels and remove the tag, or label it upright",
        )
    return Problem(
        "other-size",
        path,
        f"is {actual} but its labels state {stated}; were they made for another version of it?",
        is_error=False,
    )


def _stored_size(path: Path) -> tuple[int, int] | None:
    """Width and height before the camera's orientation is applied; the header alone is read."""
    try:
        with Image.open(path) as picture:
            return picture.size
    except (OSError, Image.DecompressionBombError):  # larger than Pillow opens
        return None


def _map_problem(labels: PictureLabels, text: str) -> Problem:
    path = str(map_file(labels) or labels.picture)
    return Problem("map", path, text.removeprefix(path).lstrip(": "))


def _labelled(labels: PictureLabels, table: ClassTable) -> list[ObjectLabel]:
    """The objects that `read_objects` makes arrays of, in its order."""
    return [item for item in labels.objects or () if table.id_of(item.name) != BACKGROUND]


def _tiny_boxes(
    items: list[ObjectLabel], shapes: np.ndarray, best_iou: np.ndarray, anchors: AnchorSet
) -> list[Problem]:
    """SSD gives every box its best anchor, however little they overlap; but only that one."""
    problems = []
    sides = shapes * anchors.image_size
    for item, (width, height), iou in zip(items, sides.tolist(), best_iou.tolist(), strict=True):
        if iou < MATCHING_IOU:
            text = (
                f"{item.name} of {width:.1f}x{height:.1f} pixels at {anchors.model}'s input "
                f"overlaps its best anchor by {iou:.2f} (IoU): learnt from one anchor only"
            )
            problems.append(Problem("tiny-box", item.where, text, is_error=False))
    return problems


def _emptiness(labels: PictureLabels, num_objects: int, pixels: np.ndarray | None) -> list[Problem]:
    problems = []
    if pixels is not None and pixels[IGNORE_INDEX] >= MOSTLY_VOID * pixels.sum():
        share = pixels[IGNORE_INDEX] / pixels.sum()
        path = str(map_file(labels) or labels.picture)
        text = f"the map is {100 * share:.0f} % void"
        problems.append(Problem("mostly-void", path, text, is_error=False))
    has_foreground = pixels is not None and pixels[1:IGNORE_INDEX].any()
    is_labelled = labels.objects is not None or pixels is not None
    if is_labelled and not num_objects and not has_foreground:
        text = "shows no labelled object"
        problems.append(Problem("empty-picture", str(labels.picture), text, is_error=False))
    return problems
