"""SSD's augmentation policy (SSD, section 2.2; paper, section 3.6): randomness, without pixels."""

import math
from dataclasses import replace

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from blitznet.data.geometry import View, has_centre_inside, view_sample, whole_view
from blitznet.data.photometric import apply_colour_map, draw_colour_map
from blitznet.structures import Sample

MIN_OVERLAPS = (None, 0.0, 0.1, 0.3, 0.5, 0.7, 0.9)  # None: no crop
CROP_TRIALS = 50
CROP_AREA = (0.3, 1.0)
CROP_ASPECT = (0.5, 2.0)
MIN_BOX_SIDE = 2.0  # pixels of the input


class Augmentation(BaseModel):
    """How strongly training pictures are changed.

    Attributes:
        zoom_out_probability: how often the picture is put on a larger canvas.
        zoom_out_max: largest side of that canvas, in sides of the picture.
        photometric: whether colours are distorted.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    zoom_out_probability: float = Field(default=0.5, ge=0, le=1)
    zoom_out_max: float = Field(default=4.0, ge=1)
    photometric: bool = True


def augment_sample(
    sample: Sample, size: int, augmentation: Augmentation, rng: np.random.Generator
) -> Sample:
    """Draw a view and a distortion, then resample once.

    Args:
        sample: any size.
        size: S, side of the result in pixels.
        augmentation: strengths.
        rng: the only source of randomness.

    Returns:
        A sample at (S, S); boxes under 2 pixels are dropped.
    """
    view = draw_view(sample, augmentation, rng)
    result = view_sample(sample, view, size, MIN_BOX_SIDE)
    if augmentation.photometric:
        mean = result.image.mean(axis=(0, 1))
        image = apply_colour_map(result.image, draw_colour_map(mean, rng))
        result = replace(result, image=image)
    return result


def draw_view(sample: Sample, augmentation: Augmentation, rng: np.random.Generator) -> View:
    """Zoom out, then crop, then flip: all of it one box in source pixels."""
    view = whole_view(*sample.size)
    if rng.random() < augmentation.zoom_out_probability:
        view = draw_zoom_out(view, augmentation.zoom_out_max, rng)
    view = draw_iou_crop(view, sample.boxes, rng)
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
    while True:
        min_overlap = MIN_OVERLAPS[rng.integers(len(MIN_OVERLAPS))]
        if min_overlap is None:
            return view
        for _ in range(CROP_TRIALS):
            area = rng.uniform(*CROP_AREA) * view.width * view.height
            aspect = math.exp(rng.uniform(math.log(CROP_ASPECT[0]), math.log(CROP_ASPECT[1])))
            width, height = math.sqrt(area * aspect), math.sqrt(area / aspect)
            if width > view.width or height > view.height:
                continue
            x1 = view.x1 + rng.uniform(0, view.width - width)
            y1 = view.y1 + rng.uniform(0, view.height - height)
            crop = View(x1, y1, x1 + width, y1 + height)
            if boxes is None or len(boxes) == 0 or _shows_an_object(crop, boxes, min_overlap):
                return crop


def _shows_an_object(crop: View, boxes: np.ndarray, min_overlap: float) -> bool:
    """Whether a box with its centre in the crop reaches the IoU with it."""
    boxes = boxes[has_centre_inside(boxes, crop)]
    if len(boxes) == 0:
        return False
    width = np.minimum(boxes[:, 2], crop.x2) - np.maximum(boxes[:, 0], crop.x1)
    height = np.minimum(boxes[:, 3], crop.y2) - np.maximum(boxes[:, 1], crop.y1)
    intersection = width * height
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    iou = intersection / (areas + crop.width * crop.height - intersection)
    return bool(iou.max() >= min_overlap)
