"""Coarse segmentation maps from boxes, for images without segmentation labels (D17)."""

import math
from dataclasses import dataclass

import numpy as np

from blitznet.classes import BACKGROUND, IGNORE_INDEX
from blitznet.data.labels import ClassTable, ImageLabels, read_objects

# Central share of a box that is labelled as the object: "Box^i" of Khoreva et al., Simple Does It:
# Weakly Supervised Instance and Semantic Segmentation, CVPR 2017, section 3.1.
INNER_AREA = 0.2


@dataclass(frozen=True)
class MapFromBoxes:
    """A segmentation map drawn from an image's boxes, assuming that every object has one.

    Pixels outside all boxes are background; the inner fifth of a box is its object, the rest is
    void. Where boxes overlap, the smallest wins, void included. Ignored objects are void.

    Attributes:
        labels: labels of the image.
    """

    labels: ImageLabels

    def read(self, size: tuple[int, int], table: ClassTable) -> np.ndarray:
        """See `MapLabel`."""
        boxes, ids, difficult = read_objects(self.labels, size, table)
        sides = boxes[:, 2:] - boxes[:, :2]
        inset = np.tile(sides * (1 - math.sqrt(INNER_AREA)) / 2, 2) * (1, 1, -1, -1)
        seg_map = np.full((size[1], size[0]), BACKGROUND, np.uint8)
        for index in np.argsort(-sides.prod(axis=1), kind="stable"):
            seg_map[pixels_in_box(boxes[index], seg_map.shape)] = IGNORE_INDEX
            if not difficult[index]:
                core = pixels_in_box(boxes[index] + inset[index], seg_map.shape)
                seg_map[core] = ids[index]
        return seg_map


def pixels_in_box(box: np.ndarray, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Rows and columns of the pixels whose centre lies in a box, and always the box's middle pixel.

    `box` is (4,) xyxy in pixels of a map whose `shape` is (H, W).
    """
    rows, columns = (
        _span(float(box[axis]), float(box[axis + 2]), shape[1 - axis]) for axis in (1, 0)
    )
    return rows, columns


def _span(start: float, end: float, length: int) -> slice:
    first, last = math.ceil(start - 0.5), math.ceil(end - 0.5)
    middle = min(int((start + end) / 2), length - 1)
    return slice(max(min(first, middle), 0), max(last, middle + 1))
