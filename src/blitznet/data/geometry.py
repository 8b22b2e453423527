"""Zoom-out, crop and flip as one view of the source picture, resampled once.

A view is a box in source pixels that may reach beyond the picture (zoom-out), and whether it is
mirrored. Picture, boxes and map go through the same view, so they cannot come apart.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from PIL import Image

from blitznet.classes import IGNORE_INDEX
from blitznet.data.source import Labelled, UnreadSample
from blitznet.structures import Sample

# Beyond the picture: a mid grey close to the mean of natural pictures, as SSD fills its canvas.
FILL_COLOUR = (123, 117, 104)

# Pixels that a shrunk picture keeps, per pixel of the result and axis: anti-aliasing needs some to
# average, so that shrinking while decoding changes grey levels by rounding and does not blur.
PIXELS_TO_AVERAGE = 2


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


class Objects(NamedTuple):
    """The objects of a picture; see `Sample`.

    Attributes:
        boxes: (G, 4) float32 xyxy, or None.
        labels: (G,) int64.
        difficult: (G,) bool.
    """

    boxes: np.ndarray | None
    labels: np.ndarray
    difficult: np.ndarray


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
    return view_labels(sample, view, size, min_box_side, view_picture(sample, view, size))


def view_picture(sample: Sample | UnreadSample, view: View, size: int) -> Image.Image:
    """What `view` shows of a sample's picture, RGB, (size, size); see `view_sample`.

    Raises:
        PictureError: if the picture cannot be decoded.
    """
    if isinstance(sample, Sample):
        picture, reduction = Image.fromarray(sample.image), 1
    else:
        reduction = choose_reduction(view, size, sample.picture.reductions)
        picture = sample.picture.decode(reduction)
    bilinear = Image.Resampling.BILINEAR
    return _resample(picture, sample.size, view, size, bilinear, FILL_COLOUR, reduction)


def choose_reduction(view: View, size: int, reductions: Sequence[int]) -> int:
    """The most that a picture may be shrunk by before `view` of it is resampled to (size, size).

    Args:
        view: in pixels of the whole picture.
        size: S.
        reductions: to choose from, ascending; the first one is always good.
    """
    most = min(view.width, view.height) / (size * PIXELS_TO_AVERAGE)
    return max((reduction for reduction in reductions if reduction <= most), default=reductions[0])


def view_labels(
    sample: Sample | UnreadSample,
    view: View,
    size: int,
    min_box_side: float,
    picture: Image.Image,
) -> Sample:
    """A sample of which `view_picture` has given the picture; other arguments as `view_sample`."""
    seg_map = None
    if sample.seg_map is not None:
        whole = Image.fromarray(sample.seg_map)
        nearest = Image.Resampling.NEAREST
        seg_map = np.asarray(_resample(whole, whole.size, view, size, nearest, IGNORE_INDEX))
    objects = view_objects(sample, view, size, min_box_side)
    return Sample(
        image=np.asarray(picture),
        boxes=objects.boxes,
        labels=objects.labels,
        difficult=objects.difficult,
        seg_map=seg_map,
        source=sample.source,
        known_classes=sample.known_classes,
    )


def view_objects(sample: Labelled, view: View, size: int, min_box_side: float) -> Objects:
    """The objects that `view` shows; arguments as `view_sample`."""
    if sample.boxes is None:
        return Objects(None, sample.labels, sample.difficult)
    moved = view_boxes(sample.boxes, view, size)
    sides = moved[:, 2:] - moved[:, :2]
    is_shown = has_centre_inside(sample.boxes, view)
    keep = is_shown & (sides.min(axis=1, initial=np.inf) > min_box_side)
    return Objects(moved[keep], sample.labels[keep], sample.difficult[keep])


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
    picture: Image.Image,
    whole_size: tuple[int, int],
    view: View,
    size: int,
    resampling: Image.Resampling,
    fill: int | tuple[int, ...],
    reduction: int = 1,
) -> Image.Image:
    """A picture of any mode to (size, size) in one pass, anti-aliased when bilinear.

    Args:
        picture: whole, or shrunk by `reduction`.
        whole_size: width and height before that.
        view: in pixels of the whole picture.
        size: S.
        resampling: method.
        fill: beyond the picture.
        reduction: see `OpenPicture.decode`.
    """
    left, right, source_x1, source_x2 = visible_span(view.x1, view.x2, whole_size[0], size)
    top, bottom, source_y1, source_y2 = visible_span(view.y1, view.y2, whole_size[1], size)
    if right <= left or bottom <= top:
        return Image.new(picture.mode, (size, size), fill)
    box = (
        source_x1 / reduction,
        source_y1 / reduction,
        source_x2 / reduction,
        source_y2 / reduction,
    )
    visible = picture.resize((right - left, bottom - top), resampling, box)
    if view.flip:
        left, right = size - right, size - left
        visible = visible.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    if visible.size == (size, size):
        return visible
    canvas = Image.new(picture.mode, (size, size), fill)
    canvas.paste(visible, (left, top))
    return canvas


def visible_span(start: float, end: float, length: int, size: int) -> tuple[int, int, float, float]:
    """Along one axis, the result's pixels wholly on the picture and the source span they show.

    Rounding inwards keeps the scale exact; it costs at most a pixel of picture at a padded edge.
    """
    scale = size / (end - start)
    first = max(math.ceil(-start * scale - 1e-6), 0)
    last = min(math.floor((length - start) * scale + 1e-6), size)
    source_start = min(max(start + first / scale, 0.0), float(length))
    source_end = min(max(start + last / scale, 0.0), float(length))
    return first, last, source_start, source_end
