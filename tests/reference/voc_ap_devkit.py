"""`VOCevaldet.m` and `VOCap.m` of the VOC development kit, step by step, in slow Python.

Left out: the "+1" in widths and heights, because our boxes are continuous.
"""

import math
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from reference.iou_loops import box_iou


class Image(NamedTuple):
    """The arguments of `AveragePrecision.update`, in order."""

    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray
    true_boxes: np.ndarray
    true_labels: np.ndarray
    difficult: np.ndarray


def make_image(
    detections: Sequence[tuple[Sequence[float], int, float]],
    truth: Sequence[tuple[Sequence[float], int, bool]],
) -> Image:
    """From (box, label, score) and (box, label, difficult)."""
    return Image(
        boxes=np.array([box for box, _, _ in detections], dtype=np.float32).reshape(-1, 4),
        labels=np.array([label for _, label, _ in detections], dtype=np.int64),
        scores=np.array([score for _, _, score in detections], dtype=np.float32),
        true_boxes=np.array([box for box, _, _ in truth], dtype=np.float32).reshape(-1, 4),
        true_labels=np.array([label for _, label, _ in truth], dtype=np.int64),
        difficult=np.array([flag for _, _, flag in truth], dtype=bool),
    )


def evaluate_class(images: Sequence[Image], label: int) -> tuple[float, float] | None:
    """11-point AP and area AP of one class; None without ground truth that is not ignored."""
    true_boxes = [image.true_boxes[image.true_labels == label] for image in images]
    difficult = [image.difficult[image.true_labels == label] for image in images]
    detected = [[False] * len(boxes) for boxes in true_boxes]
    npos = sum(int(not flag) for flags in difficult for flag in flags)
    if npos == 0:
        return None

    detections = [
        (float(score), i, box)
        for i, image in enumerate(images)
        for box, box_label, score in zip(*image[:3], strict=True)
        if box_label == label
    ]
    detections.sort(key=lambda detection: -detection[0])  # stable, as MATLAB's sort

    recall, precision = [], []
    num_correct = num_wrong = 0
    for _, i, box in detections:
        best_iou, best = -math.inf, -1
        for j, true_box in enumerate(true_boxes[i]):
            iou = box_iou(box.astype(float), true_box.astype(float))
            if iou > best_iou:
                best_iou, best = iou, j
        if best_iou >= 0.5:
            if not difficult[i][best]:
                if not detected[i][best]:
                    num_correct += 1
                    detected[i][best] = True
                else:
                    num_wrong += 1
        else:
            num_wrong += 1
        recall.append(num_correct / npos)
        # 0 / 0 is NaN in MATLAB, whose max skips it.
        num_counted = num_correct + num_wrong
        precision.append(num_correct / num_counted if num_counted else 0.0)
    return _ap_of_2007(recall, precision), _ap_of_2010(recall, precision)


def _ap_of_2007(recall: list[float], precision: list[float]) -> float:
    ap = 0.0
    for k in range(11):
        # MATLAB's 0:0.1:1 holds 0.30000000000000004, which a recall of 3 / 10 misses.
        reached = [p for r, p in zip(recall, precision, strict=True) if r >= k / 10]
        ap += max(reached, default=0) / 11
    return ap


def _ap_of_2010(recall: list[float], precision: list[float]) -> float:
    recall, precision = [0, *recall, 1], [0, *precision, 0]
    for i in range(len(precision) - 2, -1, -1):
        precision[i] = max(precision[i], precision[i + 1])
    ap = 0.0
    for i in range(1, len(recall)):
        if recall[i] != recall[i - 1]:
            ap += (recall[i] - recall[i - 1]) * precision[i]
    return ap
