"""The confusion matrix of detections."""

import numpy as np

from blitznet.classes import BACKGROUND
from blitznet.detections import Detections
from blitznet.evaluation.average_precision import IOU_THRESHOLD, TrueBoxes, box_iou


def box_confusion(found: Detections, true: TrueBoxes, num_classes: int, score: float) -> np.ndarray:
    """Count pairs of detections and boxes of one image by true and predicted class.

    Each detection, best score first, is paired with the free box of any class that it overlaps
    most, if their IoU is at least 0.5. An unpaired detection counts as background taken for its
    class, an unpaired box as its class taken for background. Difficult boxes and the detections
    paired with them are not counted.

    Args:
        found: detections of the image.
        true: labelled boxes of the image.
        num_classes: C, background included.
        score: minimum score of a detection.

    Returns:
        (C, C) int64, [true, predicted].
    """
    kept = np.argsort(-found.scores, kind="stable")
    kept = kept[found.scores[kept] >= score]
    counts = np.zeros((num_classes, num_classes), dtype=np.int64)
    free = np.ones(len(true.boxes), dtype=bool)
    for row, label in zip(box_iou(found.boxes[kept], true.boxes), found.labels[kept], strict=True):
        overlap = np.where(free, row, 0.0)
        if overlap.max(initial=0) < IOU_THRESHOLD:
            counts[BACKGROUND, label] += 1
        elif not true.difficult[best := overlap.argmax()]:
            counts[true.labels[best], label] += 1
            free[best] = False
    np.add.at(counts[:, BACKGROUND], true.labels[free & ~true.difficult], 1)
    return counts
