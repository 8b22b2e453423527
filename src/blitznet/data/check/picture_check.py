"""What the check finds in one image and its labels; each image is decoded once."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor

from blitznet.boxes import pairwise_iou
from blitznet.classes import BACKGROUND, IGNORE_INDEX
from blitznet.data.check.duplicates import grey_cells
from blitznet.data.labels import PictureLabels, Problem, find_object_problems, read_objects
from blitznet.data.source import LabelSource
from blitznet.detection.anchors import anchors_of
from blitznet.errors import LabelError, PictureError
from blitznet.image import read_picture
from blitznet.model_info import ModelConfig

# From this IoU on an anchor answers for a box (SSD, section 2.2: detection.matcher).
MATCHING_IOU = 0.5
MOSTLY_VOID = 0.9  # share of a map

_BOXES_AT_ONCE = 8  # times 131 070 anchors at most


class AnchorSet:
    """The anchors of the network that the data is checked for.

    Args:
        config: of the network.

    Attributes:
        model: its name.
        image_size: S, side of its input in pixels.
        anchors: (A, 4) float32 xyxy, input pixels.
    """

    def __init__(self, config: ModelConfig):
        self.model = config.name
        self.image_size = config.image_size
        self.anchors: Tensor = anchors_of(config)

    def best_iou(self, boxes: np.ndarray) -> np.ndarray:
        """(G, 4) xyxy in fractions of the image to (G,) float32: each one's IoU with its best."""
        scaled = torch.from_numpy(np.asarray(boxes, np.float32)) * self.image_size
        best = [
            pairwise_iou(part, self.anchors).amax(dim=1)
            for part in torch.split(scaled, _BOXES_AT_ONCE)
        ]
        return torch.cat(best).numpy()


@dataclass(frozen=True, eq=False)
class Picture:
    """What is kept of every image until all are read.

    Attributes:
        split: as the data description names it.
        source: number of its entry in the split, from 1.
        index: in its source.
        path: its file; None where its labels could not be read.
        pixel_hash: of its size and its upright pixels; None = it could not be decoded.
        look: (8, 9) uint8, see `grey_cells`; None = not asked for, or not decoded.
    """

    split: str
    source: int
    index: int
    path: Path | None = None
    pixel_hash: bytes | None = None
    look: np.ndarray | None = None

    def place(self, problem: Problem) -> Problem:
        """A problem with the place of this image."""
        return replace(problem, split=self.split, source=self.source, index=self.index)


@dataclass(frozen=True, eq=False)
class PictureRecord:
    """What the check finds in one image: small, whatever the image's size.

    Attributes:
        picture: what is kept of it.
        problems: of the image and its labels alone.
        has_boxes: whether boxes are labelled.
        labels: (G,) int64 class ids of the boxes that count; none where an object has a problem.
        shapes: (G, 2) float32 their width and height, fractions of the image's.
        best_iou: (G,) float32 with anchors; empty without them.
        num_ignored: boxes that are ignored.
        pixels: (256,) int64 pixels of the map by value; None = there is none that can be read.
    """

    picture: Picture
    problems: tuple[Problem, ...]
    has_boxes: bool = False
    labels: np.ndarray = field(default_factory=lambda: np.zeros(0, np.int64))
    shapes: np.ndarray = field(default_factory=lambda: np.zeros((0, 2), np.float32))
    best_iou: np.ndarray = field(default_factory=lambda: np.zeros(0, np.float32))
    num_ignored: int = 0
    pixels: np.ndarray | None = None


def check_picture(
    source: LabelSource, picture: Picture, anchors: AnchorSet | None
) -> PictureRecord:
    """Read one image with everything that is said of it.

    Args:
        source: of the image.
        picture: its place.
        anchors: None = errors alone are looked for.

    Raises:
        InputError: if a package is missing that its labels need.
    """
    try:
        labels = source.labels(picture.index)
    except LabelError as error:
        where = f"{picture.split}, source {picture.source}, image {picture.index + 1}"
        problem = picture.place(Problem("label-file", where, str(error)))
        return PictureRecord(picture, (problem,))
    picture = replace(picture, path=labels.picture)
    problems: list[Problem] = []
    image = None
    try:
        image = read_picture(labels.picture)
    except PictureError as error:
        path = str(labels.picture)
        problems.append(Problem("picture", path, str(error).removeprefix(f"{path}: ")))
    size = image.size if image is not None else labels.size
    if image is not None and labels.size not in (None, image.size):
        problems.append(_size_problem(labels, image.size))
        if problems[-1].kind == "rotation":
            size = labels.size  # boxes and map fit there; one line says what is wrong
    record = _check_labels(source, labels, size, anchors if image is not None else None)
    problems += record.problems
    if image is None:
        record = PictureRecord(picture, ())
    else:
        look = grey_cells(image) if anchors is not None else None
        picture = replace(picture, pixel_hash=hash_pixels(image), look=look)
    placed = tuple(map(picture.place, problems))
    return replace(record, picture=picture, problems=placed)


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


def _check_labels(
    source: LabelSource,
    labels: PictureLabels,
    size: tuple[int, int] | None,
    anchors: AnchorSet | None,
) -> PictureRecord:
    """The record of an image's labels alone; arguments as of `find_object_problems`."""
    table = source.table
    object_problems = list(find_object_problems(labels, size, table))
    problems = list(object_problems)
    map_path = str(map_file(labels) or labels.picture)
    pixels = None
    # A map that is made from objects would only repeat what is wrong with them.
    is_repeated = bool(object_problems) and map_file(labels) is None
    if labels.seg_map is not None and size is not None and not is_repeated:
        try:
            pixels = np.bincount(labels.seg_map.read(size, table).ravel(), minlength=256)
        except LabelError as error:
            text = str(error).removeprefix(map_path).lstrip(": ")
            problems.append(Problem("map", map_path, text))
    nowhere = Picture("", 0, 0)
    has_boxes = labels.objects is not None
    if object_problems or size is None:
        return PictureRecord(nowhere, tuple(problems), has_boxes, pixels=pixels)

    boxes, ids, ignored = read_objects(labels, size, table)
    fractions = (boxes / np.array([*size, *size], np.float32))[~ignored]
    shapes, best_iou = fractions[:, 2:] - fractions[:, :2], np.zeros(0, np.float32)
    if anchors is not None:
        best_iou = anchors.best_iou(fractions)
        # The objects that `read_objects` makes arrays of, in its order.
        read = [item for item in labels.objects or () if table.id_of(item.name) != BACKGROUND]
        items = [item for item, skip in zip(read, ignored, strict=True) if not skip]
        wheres = [(item.where, item.name) for item in items]
        problems += _tiny_boxes(wheres, shapes, best_iou, anchors)
        problems += _emptiness(labels, map_path, len(boxes), pixels)
    num_ignored = int(ignored.sum())
    return PictureRecord(
        nowhere, tuple(problems), has_boxes, ids[~ignored], shapes, best_iou, num_ignored, pixels
    )


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
    text = f"is {actual} but its labels state {stated}; were they made for another version of it?"
    return Problem("other-size", path, text, is_error=False)


def _stored_size(path: Path) -> tuple[int, int] | None:
    """Width and height before the camera's orientation is applied; the header alone is read."""
    try:
        with Image.open(path) as image:
            return image.size
    except (OSError, Image.DecompressionBombError):  # larger than Pillow opens
        return None


def _tiny_boxes(
    objects: list[tuple[str, str]], shapes: np.ndarray, best_iou: np.ndarray, anchors: AnchorSet
) -> Iterator[Problem]:
    """SSD gives every box its best anchor, however little they overlap; but only that one."""
    sides = shapes * anchors.image_size
    for (where, name), (width, height), iou in zip(
        objects, sides.tolist(), best_iou.tolist(), strict=True
    ):
        if iou < MATCHING_IOU:
            text = (
                f"{name} of {width:.1f}x{height:.1f} pixels at {anchors.model}'s input "
                f"overlaps its best anchor by {iou:.2f} (IoU): learnt from one anchor only"
            )
            yield Problem("tiny-box", where, text, is_error=False)


def _emptiness(
    labels: PictureLabels, map_path: str, num_objects: int, pixels: np.ndarray | None
) -> Iterator[Problem]:
    if pixels is not None and pixels[IGNORE_INDEX] >= MOSTLY_VOID * pixels.sum():
        text = f"the map is {100 * pixels[IGNORE_INDEX] / pixels.sum():.0f} % void"
        yield Problem("mostly-void", map_path, text, is_error=False)
    has_foreground = pixels is not None and pixels[1:IGNORE_INDEX].any()
    is_labelled = labels.objects is not None or pixels is not None
    if is_labelled and not num_objects and not has_foreground:
        text = "shows no labelled object"
        yield Problem("empty-picture", str(labels.picture), text, is_error=False)
