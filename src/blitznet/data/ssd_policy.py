"""SSD's augmentation policy (SSD, section 2.2; paper, section 3.6)."""

import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from blitznet.data.geometry import CropWindow, choose_reduction, view_image, view_labels
from blitznet.data.labels import ClassTable, ImageLabels, read_labels
from blitznet.data.photometric import apply_colour_map, draw_distortion, mean_colour
from blitznet.image import OpenImage
from blitznet.structures import Sample

MIN_OVERLAPS = (None, 0.0, 0.1, 0.3, 0.5, 0.7, 0.9)  # None: no crop
CROP_TRIALS = 50
CROP_AREA = (0.3, 1.0)
CROP_ASPECT = (0.5, 2.0)
EMPTY_AREA = (0.05, 0.5)
MIN_BOX_SIDE = 2.0  # pixels of the input


class Augmentation(BaseModel):
    """How strongly training images are changed.

    Attributes:
        zoom_out_probability: share of samples placed on a larger canvas.
        zoom_out_max: maximum side of that canvas, in sides of the image.
        photometric: whether colours are distorted.
        mosaic_probability: share of samples made of four images of one source, two by two, see
            `blitznet.data.mosaic`; these are not zoomed out.
        empty_probability: share of samples cropped to a part without objects, if a few trials find
            one (D24); with `min_negatives`, these are background examples.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    zoom_out_probability: float = Field(default=0.5, ge=0, le=1)
    zoom_out_max: float = Field(default=4.0, ge=1)
    photometric: bool = True
    mosaic_probability: float = Field(default=0.0, ge=0, le=1)
    empty_probability: float = Field(default=0.0, ge=0, le=1)


def read_augmented(
    labels: ImageLabels,
    table: ClassTable,
    size: int,
    augmentation: Augmentation,
    rng: np.random.Generator,
) -> Sample:
    """Draw a crop window and a colour distortion, decode the image, and apply both.

    The window is drawn first, so that a JPEG larger than needed can be shrunk during decoding.
    `rng` is the only source of randomness.

    Returns:
        A sample at (S, S); boxes of up to 2 pixels are dropped.

    Raises:
        ImageError: if the image cannot be read.
        LabelError: for the first error in its labels.
    """
    source = OpenImage(labels.path)
    boxes, ids, difficult, seg_map = read_labels(labels, source.size, table)
    view = draw_view(source.size, boxes, augmentation, rng)
    reduction = choose_reduction(view, size, source.reductions)
    image = view_image(source.decode(reduction), source.size, view, size, reduction)
    if augmentation.photometric:
        image = apply_colour_map(image, draw_distortion(mean_colour(image), rng))
    name = str(labels.path)
    sample = Sample(np.asarray(image), boxes, ids, difficult, seg_map, name, table.known)
    return view_labels(sample, view, size, MIN_BOX_SIDE)


def draw_view(
    size: tuple[int, int],
    boxes: np.ndarray | None,
    augmentation: Augmentation,
    rng: np.random.Generator,
) -> CropWindow:
    """Zoom out, then crop, then flip, combined into one crop window in source pixels.

    `size` is width and height of the image; `boxes` are (G, 4) xyxy in its pixels, None = unknown.
    """
    view, empty = CropWindow(0, 0, *size), None
    if augmentation.empty_probability and rng.random() < augmentation.empty_probability:
        empty = draw_empty_crop(view, boxes, rng)
    if empty is None:
        if rng.random() < augmentation.zoom_out_probability:
            view = draw_zoom_out(view, augmentation.zoom_out_max, rng)
        view = draw_iou_crop(view, boxes, rng)
    return replace(empty or view, flip=bool(rng.random() < 0.5))


def draw_zoom_out(view: CropWindow, max_ratio: float, rng: np.random.Generator) -> CropWindow:
    """A canvas 1 to `max_ratio` times as wide and high, with the image at a random position."""
    ratio = rng.uniform(1, max_ratio)
    width, height = view.width * ratio, view.height * ratio
    x1 = view.x1 - rng.uniform(0, width - view.width)
    y1 = view.y1 - rng.uniform(0, height - view.height)
    return CropWindow(x1, y1, x1 + width, y1 + height)


def draw_empty_crop(
    view: CropWindow, boxes: np.ndarray | None, rng: np.random.Generator
) -> CropWindow | None:
    """A crop of `view` that touches no box (D24), or None if no trial finds one.

    `boxes` are (G, 4) xyxy in source pixels; if they are unknown (None), there is no such crop.
    """
    if boxes is None:
        return None
    for _ in range(CROP_TRIALS):
        if crop := _random_crop(view, EMPTY_AREA, rng):
            touches = (boxes[:, :2] < crop[2:]) & (boxes[:, 2:] > crop[:2])
            if not touches.all(axis=1).any():
                return CropWindow(*crop)
    return None


def draw_iou_crop(
    view: CropWindow, boxes: np.ndarray | None, rng: np.random.Generator
) -> CropWindow:
    """A crop of `view` that overlaps some object by a random minimum IoU, or `view` itself.

    `boxes` are (G, 4) xyxy in source pixels; without any, every crop is accepted.
    """
    # Plain numbers are faster than arrays: few boxes, but up to hundreds of trials.
    objects = () if boxes is None else boxes.tolist()
    while (min_overlap := MIN_OVERLAPS[rng.integers(len(MIN_OVERLAPS))]) is not None:
        for _ in range(CROP_TRIALS):
            crop = _random_crop(view, CROP_AREA, rng)
            if crop and (not objects or _shows_an_object(*crop, objects, min_overlap)):
                return CropWindow(*crop)
    return view


def _random_crop(
    view: CropWindow, areas: tuple[float, float], rng: np.random.Generator
) -> tuple[float, float, float, float] | None:
    """Corners of a random crop that has a share of `view`'s area in `areas`; None if too long."""
    # `rng.uniform` takes three times as long as `rng.random`.
    area = (areas[0] + (areas[1] - areas[0]) * rng.random()) * view.width * view.height
    low_aspect, high_aspect = map(math.log, CROP_ASPECT)
    aspect = math.exp(low_aspect + (high_aspect - low_aspect) * rng.random())
    width, height = math.sqrt(area * aspect), math.sqrt(area / aspect)
    if width > view.width or height > view.height:
        return None
    x1 = view.x1 + (view.width - width) * rng.random()
    y1 = view.y1 + (view.height - height) * rng.random()
    return x1, y1, x1 + width, y1 + height


def _shows_an_object(
    x1: float, y1: float, x2: float, y2: float, boxes: Sequence[Sequence[float]], min_overlap: float
) -> bool:
    """Whether some box with its centre in the crop has at least `min_overlap` IoU with it."""
    crop_area = (x2 - x1) * (y2 - y1)
    for left, top, right, bottom in boxes:
        if x1 < (left + right) / 2 < x2 and y1 < (top + bottom) / 2 < y2:
            intersection = (min(right, x2) - max(left, x1)) * (min(bottom, y2) - max(top, y1))
            union = (right - left) * (bottom - top) + crop_area - intersection
            if intersection >= min_overlap * union:
                return True
    return False
