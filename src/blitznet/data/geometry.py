"""Zoom-out, crop and flip as one view of the source picture, resampled once.

A view is a box in source pixels that may reach beyond the picture (zoom-out), and whether it is
mirrored. Picture, boxes and map go through the same view, so they cannot come apart.
"""

import math
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from blitznet.classes import IGNORE_INDEX
from blitznet.structures import Sample

# Beyond the picture: a mid grey close to the mean of natural pictures, as SSD fills its canvas.
FILL_COLOUR = (123, 117, 104)


@dataclass(frozen=True)
class View:
    """What the network gets to see of a picture.

    Attributes:
        x1: left edge in source pixels; may be negative.
        y1: top edge.
        x2: right edge, greater than x1; may lie beyond the picture.
        y2: bottom edge, greater than y1.
        flip: mirrored left to right.
    """

    x1: float
    y1: float
    x2: float
    y2: float
    flip: bool = False

    @property
    def width(self) -> float:
        """In source pixels."""
        return self.x2 - self.x1

    @property
    def height(self) -> float:
        """In source pixels."""
        return self.y2 - self.y1


def whole_view(width: int, height: int) -> View:
    """The picture as it is."""
    return View(0, 0, width, height)


def resize_sample(sample: Sample, size: int) -> Sample:
    """The whole picture, stretched to (size, size), as at test time."""
    return view_sample(sample, whole_view(*sample.size), size)


def view_sample(sample: Sample, view: View, size: int, min_box_side: float = 0.0) -> Sample:
    """What `view` shows of a sample, at (size, size) pixels.

    Args:
        sample: any size.
        view: in pixels of the sample.
        size: S.
        min_box_side: boxes with a side up to this, in pixels of the result, are dropped; with 0
            those that have no area.

    Returns:
        A sample whose boxes are those with their centre inside the view, clipped to it. Pixels
        beyond the picture are grey in the image and void in the map.
    """
    image = _resample(sample.image, view, size, Image.Resampling.BILINEAR, FILL_COLOUR)
    seg_map = None
    if sample.seg_map is not None:
        seg_map = _resample(sample.seg_map, view, size, Image.Resampling.NEAREST, IGNORE_INDEX)
    if sample.boxes is None:
        return replace(sample, image=image, seg_map=seg_map)
    boxes = view_boxes(sample.boxes, view, size)
    sides = boxes[:, 2:] - boxes[:, :2]
    keep = has_centre_inside(sample.boxes, view) & (
        sides.min(axis=1, initial=np.inf) > min_box_side
    )
    return replace(
        sample,
        image=image,
        boxes=boxes[keep],
        labels=sample.labels[keep],
        difficult=sample.difficult[keep],
        seg_map=seg_map,
    )


def view_boxes(boxes: np.ndarray, view: View, size: int) -> np.ndarray:
    """(G, 4) xyxy in source pixels to (G, 4) xyxy in 0..size, clipped to the view."""
    scale = np.array([size / view.width, size / view.height] * 2)
    moved = (boxes - np.array([view.x1, view.y1] * 2)) * scale
    if view.flip:
        moved = np.stack((size - moved[:, 2], moved[:, 1], size - moved[:, 0], moved[:, 3]), axis=1)
    clipped: np.ndarray = moved.clip(0, size).astype(np.float32)
    return clipped


def has_centre_inside(boxes: np.ndarray, view: View) -> np.ndarray:
    """(G, 4) xyxy in source pixels to (G,) bool: SSD keeps boxes by their centre."""
    x, y = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
    inside: np.ndarray = (view.x1 < x) & (x < view.x2) & (view.y1 < y) & (y < view.y2)
    return inside


def _resample(
    pixels: np.ndarray,
    view: View,
    size: int,
    resampling: Image.Resampling,
    fill: int | tuple[int, ...],
) -> np.ndarray:
    """(H, W[, 3]) uint8 to (size, size[, 3]) uint8 in one pass, anti-aliased when bilinear."""
    height, width = pixels.shape[:2]
    left, right, source_x1, source_x2 = _visible_span(view.x1, view.x2, width, size)
    top, bottom, source_y1, source_y2 = _visible_span(view.y1, view.y2, height, size)
    out = np.empty((size, size, *pixels.shape[2:]), dtype=np.uint8)
    out[:] = fill
    if right > left and bottom > top:
        visible = Image.fromarray(pixels).resize(
            (right - left, bottom - top),
            resampling,
            box=(source_x1, source_y1, source_x2, source_y2),
        )
        out[top:bottom, left:right] = np.asarray(visible)
    return out[:, ::-1].copy() if view.flip else out


def _visible_span(
    start: float, end: float, length: int, size: int
) -> tuple[int, int, float, float]:
    """Along one axis, the result's pixels wholly on the picture and the source span they show.

    Rounding inwards keeps the scale exact; it costs at most a pixel of picture at a padded edge.
    """
    scale = size / (end - start)
    first = max(math.ceil(-start * scale - 1e-6), 0)
    last = min(math.floor((length - start) * scale + 1e-6), size)
    source_start = min(max(start + first / scale, 0.0), float(length))
    source_end = min(max(start + last / scale, 0.0), float(length))
    return first, last, source_start, source_end
