"""Intersection over union by the definition: one box pair, one pixel at a time."""

from collections.abc import Sequence

import numpy as np


def box_iou(a: Sequence[float], b: Sequence[float]) -> float:
    """IoU of two xyxy boxes; 0 where they do not overlap."""
    width = min(a[2], b[2]) - max(a[0], b[0])
    height = min(a[3], b[3]) - max(a[1], b[1])
    if width <= 0 or height <= 0:
        return 0.0
    intersection = width * height
    area_a = (a[2] - a[0]) * (a[3] - a[1])
    area_b = (b[2] - b[0]) * (b[3] - b[1])
    return intersection / (area_a + area_b - intersection)


def class_iou(
    seg_maps: Sequence[np.ndarray], true_seg_maps: Sequence[np.ndarray], num_classes: int
) -> list[float | None]:
    """IoU of every class over all pixels whose true class is not 255."""
    intersection, union, num_true = [0] * num_classes, [0] * num_classes, [0] * num_classes
    for seg_map, true_seg_map in zip(seg_maps, true_seg_maps, strict=True):
        for y in range(true_seg_map.shape[0]):
            for x in range(true_seg_map.shape[1]):
                if true_seg_map[y, x] == 255:
                    continue
                for label in range(num_classes):
                    is_true, is_predicted = true_seg_map[y, x] == label, seg_map[y, x] == label
                    num_true[label] += is_true
                    intersection[label] += is_true and is_predicted
                    union[label] += is_true or is_predicted
    return [
        intersection[label] / union[label] if num_true[label] else None
        for label in range(num_classes)
    ]
