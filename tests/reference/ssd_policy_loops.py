"""SSD's zoom-out and crop as described by SSD and in section 3.6, one trial at a time."""

import math
from typing import Literal

import numpy as np

from blitznet.data.geometry import CropWindow
from reference.iou_loops import box_iou

OVERLAPS = (None, 0.0, 0.1, 0.3, 0.5, 0.7, 0.9)


def draw_view_slowly(
    size: tuple[int, int],
    boxes: np.ndarray,
    rng: np.random.Generator,
    aspects: Literal["log-uniform", "uniform"] = "log-uniform",
) -> tuple[CropWindow, CropWindow]:
    """A canvas and a crop of it, in pixels of the image; drawn in the order of `draw_view`.

    Args:
        size: width and height of the image.
        boxes: (G, 4) xyxy.
        rng: drawn from.
        aspects: how width over height of a crop is distributed in 0.5..2.
    """
    width, height = float(size[0]), float(size[1])
    x1 = y1 = 0.0
    if rng.uniform() < 0.5:
        ratio = rng.uniform(1, 4)
        canvas_width, canvas_height = width * ratio, height * ratio
        x1 = -rng.uniform(0, canvas_width - width)
        y1 = -rng.uniform(0, canvas_height - height)
        width, height = canvas_width, canvas_height
    canvas = CropWindow(x1, y1, x1 + width, y1 + height)
    while True:
        overlap = OVERLAPS[rng.integers(7)]
        if overlap is None:
            return canvas, canvas
        for _ in range(50):
            area = rng.uniform(0.3, 1) * canvas.width * canvas.height
            if aspects == "log-uniform":
                aspect = math.exp(rng.uniform(math.log(0.5), math.log(2)))
            else:
                aspect = rng.uniform(0.5, 2)
            crop_width, crop_height = math.sqrt(area * aspect), math.sqrt(area / aspect)
            if crop_width > canvas.width or crop_height > canvas.height:
                continue
            left = x1 + rng.uniform(0, canvas.width - crop_width)
            top = y1 + rng.uniform(0, canvas.height - crop_height)
            crop = (left, top, left + crop_width, top + crop_height)
            if len(boxes) == 0 or _is_good(crop, boxes, overlap):
                return canvas, CropWindow(*crop)


def _is_good(crop: tuple[float, float, float, float], boxes: np.ndarray, overlap: float) -> bool:
    overlaps = [
        box_iou(crop, box)
        for box in boxes.astype(float)
        if crop[0] < (box[0] + box[2]) / 2 < crop[2] and crop[1] < (box[1] + box[3]) / 2 < crop[3]
    ]
    return len(overlaps) > 0 and max(overlaps) >= overlap
