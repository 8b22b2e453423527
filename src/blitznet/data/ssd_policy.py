"""SSD's augmentation policy (SSD, section 2.2; paper, section 3.6): randomness, without pixels."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from blitznet.data.geometry import View, view_labels, view_picture, whole_view
from blitznet.data.photometric import (
    Distortion,
    apply_colour_map,
    draw_distortion,
    mean_colour,
)
from blitznet.data.source import UnreadSample
from blitznet.structures import Sample

MIN_OVERLAPS = (None, 0.0, 0.1, 0.3, 0.5, 0.7, 0.9)  # None: no crop
CROP_TRIALS = 50
CROP_AREA = (0.3, 1.0)
CROP_ASPECT = (0.5, 2.0)
_LOG_CROP_ASPECT = (math.log(CROP_ASPECT[0]), math.log(CROP_ASPECT[1]))
MIN_BOX_SIDE = 2.0  # pixels of the input


class Augmentation(BaseModel):
    """How strongly training pictures are changed.

    Attributes:
        zoom_out_probability: how often the picture is put on a larger canvas.
        zoom_out_max: largest side of that canvas, in sides of the picture.
        photometric: whether colours are distorted.
        mosaic_probability: how often a sample is four pictures of one source, two by two, see
            `blitznet.data.mosaic`; such pictures are not zoomed out.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    zoom_out_probability: float = Field(default=0.5, ge=0, le=1)
    zoom_out_max: float = Field(default=4.0, ge=1)
    photometric: bool = True
    mosaic_probability: float = Field(default=0.0, ge=0, le=1)


@dataclass(frozen=True)
class Change:
    """What is done to a picture.

    Attributes:
        view: what is shown of it.
        distortion: of its colours; None = they stay.
    """

    view: View
    distortion: Distortion | None


def augment_sample(
    sample: Sample | UnreadSample, size: int, augmentation: Augmentation, rng: np.random.Generator
) -> Sample:
    """Draw a change, then apply it; arguments as there."""
    return apply_change(sample, draw_change(sample.size, sample.boxes, augmentation, rng), size)


def apply_change(sample: Sample | UnreadSample, change: Change, size: int) -> Sample:
    """A sample as a change shows it, resampled once.

    Args:
        sample: any size; one not decoded yet is shrunk meanwhile where its view leaves pixels to
            spare.
        change: see `draw_change`.
        size: S, side of the result in pixels.

    Returns:
        A sample at (S, S); boxes under 2 pixels are dropped.
    """
    picture = view_picture(sample, change.view, size)
    if change.distortion is not None:
        picture = apply_colour_map(picture, change.distortion.colour_map(mean_colour(picture)))
    return view_labels(sample, change.view, size, MIN_BOX_SIDE, picture)


def draw_change(
    size: tuple[int, int],
    boxes: np.ndarray | None,
    augmentation: Augmentation,
    rng: np.random.Generator,
) -> Change:
    """A view, then a distortion.

    Args:
        size: width and height of the picture.
        boxes: (G, 4) xyxy in its pixels, or None.
        augmentation: strengths.
        rng: the only source of randomness.
    """
    view = draw_view(size, boxes, augmentation, rng)
    return Change(view, draw_distortion(rng) if augmentation.photometric else None)


def draw_view(
    size: tuple[int, int],
    boxes: np.ndarray | None,
    augmentation: Augmentation,
    rng: np.random.Generator,
) -> View:
    """Zoom out, then crop, then flip: all of it one box in source pixels.

    Args:
        size: width and height of the picture.
        boxes: (G, 4) xyxy in its pixels, or None.
        augmentation: strengths.
        rng: drawn from.
    """
    view = whole_view(*size)
    if rng.random() < augmentation.zoom_out_probability:
        view = draw_zoom_out(view, augmentation.zoom_out_max, rng)
    view = draw_iou_crop(view, boxes, rng)
    return replace(view, flip=bool(rng.random() < 0.5))


def draw_zoom_out(view: View, max_ratio: float, rng: np.random.Generator) -> View:
    """A canvas 1 to `max_ratio` times as wide and high, the view at a random place on it."""
    ratio = rng.uniform(1, max_ratio)
    width, height = view.width * ratio, view.height * ratio
    x1 = view.x1 - rng.uniform(0, width - view.width)
    y1 = view.y1 - rng.uniform(0, height - view.height)
    return View(x1, y1, x1 + width, y1 + height)


def draw_iou_crop(view: View, boxes: np.ndarray | None, rng: np.random.Generator) -> View:
    """A crop of `view` that overlaps some object by a random least IoU, or `view` itself.

    Args:
        view: what is cropped, source pixels.
        boxes: (G, 4) xyxy in source pixels; without any, every crop is good.
        rng: drawn from.
    """
    # Plain numbers: a picture has few boxes and may take hundreds of trials.
    candidates = () if boxes is None else boxes.tolist()
    random = rng.random
    while True:
        min_overlap = MIN_OVERLAPS[rng.integers(len(MIN_OVERLAPS))]
        if min_overlap is None:
            return view
        for _ in range(CROP_TRIALS):
            area = _between(*CROP_AREA, random()) * view.width * view.height
            aspect = math.exp(_between(*_LOG_CROP_ASPECT, random()))
            width, height = math.sqrt(area * aspect), math.sqrt(area / aspect)
            if width > view.width or height > view.height:
                continue
            x1 = view.x1 + (view.width - width) * random()
            y1 = view.y1 + (view.height - height) * random()
            x2, y2 = x1 + width, y1 + height
            if not candidates or _shows_an_object(x1, y1, x2, y2, candidates, min_overlap):
                return View(x1, y1, x2, y2)


def _between(low: float, high: float, fraction: float) -> float:
    return low + (high - low) * fraction


def _shows_an_object(
    x1: float, y1: float, x2: float, y2: float, boxes: Sequence[Sequence[float]], min_overlap: float
) -> bool:
    """Whether a box with its centre in the crop reaches the IoU with it."""
    crop_area = (x2 - x1) * (y2 - y1)
    for left, top, right, bottom in boxes:
        if x1 < (left + right) / 2 < x2 and y1 < (top + bottom) / 2 < y2:
            intersection = (min(right, x2) - max(left, x1)) * (min(bottom, y2) - max(top, y1))
            union = (right - left) * (bottom - top) + crop_area - intersection
            if intersection >= min_overlap * union:
                return True
    return False
