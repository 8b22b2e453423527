"""The confusion matrix of detections."""

import numpy as np

from blitznet.classes import BACKGROUND
from blitznet.detections import Detections
from blitznet.evaluation.average_precision import IOU_THRESHOLD, TrueBoxes, box_iou


def box_confusion(found: Detections, true: TrueBoxes, num_classes: int, score: float) -> np.ndarray:
    """Pairs of boxes of one image by true and predicted class.

    A detection, best score first, is paired with the box that it overlaps most of those that are
    still free, whatever their classes, if their IoU reaches 0.5. A detection without a box counts
    as background taken for its class, a box without a detection as its class taken for background.
    Difficult boxes and what is paired with them do not count.

    Args:
        found: detections.
        true: labels.
        num_classes: C, background included.
        score: detections below it are left out.

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
