"""Zoom-out, crop and flip as one view of the source image, resampled once.

A view is a box in source pixels, which may reach beyond the image (zoom-out), and a flip flag.
Image, boxes and segmentation map go through the same view, so they stay aligned.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from PIL import Image

from blitznet.classes import IGNORE_INDEX
from blitznet.structures import Sample

# Padding beyond the image: a mid grey close to the mean of natural images, as in SSD.
FILL_COLOUR = (123, 117, 104)

# Minimum pixels of a shrunk image per output pixel and axis. With fewer to average, shrinking
# during decoding would blur; with these, it only changes how grey levels are rounded.
PIXELS_TO_AVERAGE = 2


@dataclass(frozen=True)
class CropWindow:
    """The part of an image that the network sees, in source pixels.

    Its area is positive, and it may reach beyond the image; `flip` mirrors it left to right.
    """

    x1: float
    y1: float
    x2: float
    y2: float
    flip: bool = False

    @property
    def width(self) -> float:
        """Width in source pixels."""
        return self.x2 - self.x1

    @property
    def height(self) -> float:
        """Height in source pixels."""
        return self.y2 - self.y1


def view_image(
    image: Image.Image, whole_size: tuple[int, int], view: CropWindow, size: int, reduction: int = 1
) -> Image.Image:
    """Resample the part of an image or segmentation map that `view` shows to (size, size).

    Args:
        image: RGB (bilinear with anti-aliasing, padded with grey) or a map of mode L (nearest
            neighbour, padded with void); the whole image, or shrunk by `reduction` during decoding.
        whole_size: width and height before shrinking.
        view: crop window in pixels of the whole image.
        size: S.
        reduction: see `OpenImage.decode`.
    """
    is_map = image.mode == "L"
    resampling = Image.Resampling.NEAREST if is_map else Image.Resampling.BILINEAR
    canvas = Image.new(image.mode, (size, size), IGNORE_INDEX if is_map else FILL_COLOUR)
    left, right, source_x1, source_x2 = visible_span(view.x1, view.x2, whole_size[0], size)
    top, bottom, source_y1, source_y2 = visible_span(view.y1, view.y2, whole_size[1], size)
    if right > left and bottom > top:
        x1, y1, x2, y2 = (edge / reduction for edge in (source_x1, source_y1, source_x2, source_y2))
        visible = image.resize((right - left, bottom - top), resampling, (x1, y1, x2, y2))
        if visible.size == canvas.size:
            canvas = visible
        else:
            canvas.paste(visible, (left, top))
    return canvas.transpose(Image.Transpose.FLIP_LEFT_RIGHT) if view.flip else canvas


def view_labels(sample: Sample, view: CropWindow, size: int, min_box_side: float) -> Sample:
    """Move a sample's labels into a crop window.

    Args:
        sample: a sample with the result of `view_image` as its image, and labels of any size.
        view: crop window in pixels of the labels.
        size: S.
        min_box_side: drop boxes with a side of at most this many output pixels; 0 drops only boxes
            without area.

    Returns:
        A sample with the boxes whose centre is inside the view, clipped to it. Pixels beyond the
        image are void in the segmentation map.
    """
    seg_map = None
    if sample.seg_map is not None:
        whole = Image.fromarray(sample.seg_map)
        seg_map = np.asarray(view_image(whole, whole.size, view, size))
    if sample.boxes is None:
        return replace(sample, seg_map=seg_map)
    moved = view_boxes(sample.boxes, view, size)
    sides = moved[:, 2:] - moved[:, :2]
    is_shown = has_centre_inside(sample.boxes, view)
    keep = is_shown & (sides.min(axis=1, initial=np.inf) > min_box_side)
    return replace(
        sample,
        boxes=moved[keep],
        labels=sample.labels[keep],
        difficult=sample.difficult[keep],
        seg_map=seg_map,
    )


def choose_reduction(view: CropWindow, size: int, reductions: Sequence[int]) -> int:
    """The largest factor to shrink an image by before `view` is resampled to (size, size).

    `reductions` are the possible factors, ascending; the first is always allowed.
    """
    most = min(view.width, view.height) / (size * PIXELS_TO_AVERAGE)
    return max((reduction for reduction in reductions if reduction <= most), default=reductions[0])


def view_boxes(boxes: np.ndarray, view: CropWindow, size: int) -> np.ndarray:
    """(G, 4) xyxy in source pixels to (G, 4) xyxy in 0..size, clipped to the view."""
    scale = np.array([size / view.width, size / view.height] * 2)
    moved = (boxes - np.array([view.x1, view.y1] * 2)) * scale
    if view.flip:
        moved = np.stack((size - moved[:, 2], moved[:, 1], size - moved[:, 0], moved[:, 3]), axis=1)
    clipped: np.ndarray = moved.clip(0, size).astype(np.float32)
    return clipped


def has_centre_inside(boxes: np.ndarray, view: CropWindow) -> np.ndarray:
    """(G, 4) xyxy in source pixels to (G,) bool: SSD keeps boxes by their centre."""
    x, y = (boxes[:, 0] + boxes[:, 2]) / 2, (boxes[:, 1] + boxes[:, 3]) / 2
    inside: np.ndarray = (view.x1 < x) & (x < view.x2) & (view.y1 < y) & (y < view.y2)
    return inside


def visible_span(start: float, end: float, length: int, size: int) -> tuple[int, int, float, float]:
    """Along one axis, the output pixels that are wholly on the image and the source span they show.

    Rounding inwards keeps the scale exact; at a padded edge it costs at most one image pixel.
    """
    scale = size / (end - start)
    first = max(math.ceil(-start * scale - 1e-6), 0)
    last = min(math.floor((length - start) * scale + 1e-6), size)
    source_start = min(max(start + first / scale, 0.0), float(length))
    source_end = min(max(start + last / scale, 0.0), float(length))
    return first, last, source_start, source_end
