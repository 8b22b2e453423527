"""The confusion matrix of detections."""

import numpy as np

from blitznet.classes import BACKGROUND
from blitznet.evaluation.average_precision import IOU_THRESHOLD, box_iou


class BoxConfusion:
    """Pairs of boxes by true and predicted class, accumulated image by image.

    A detection, best score first, is paired with the box that it overlaps most of those that are
    still free, whatever their classes, if their IoU reaches 0.5. A detection without a box counts
    as background taken for its class, a box without a detection as its class taken for background.
    Difficult boxes and what is paired with them do not count.
    """

    def __init__(self, num_classes: int, score: float) -> None:
        """`num_classes` includes background; detections below `score` are left out."""
        self.score = score
        self.counts = np.zeros((num_classes, num_classes), dtype=np.int64)  # [true, predicted]

    def update(
        self,
        boxes: np.ndarray,
        labels: np.ndarray,
        scores: np.ndarray,
        true_boxes: np.ndarray,
        true_labels: np.ndarray,
        difficult: np.ndarray,
    ) -> np.ndarray:
        """Add one image; the arguments are those of `AveragePrecision.update`.

        Returns:
            (C, C) int64, the image's own counts.
        """
        kept = np.flatnonzero(scores >= self.score)
        kept = kept[np.argsort(-scores[kept], kind="stable")]
        iou = box_iou(boxes[kept], true_boxes)
        counts = np.zeros_like(self.counts)
        free = np.ones(len(true_boxes), dtype=bool)
        for row, label in zip(iou, labels[kept], strict=True):
            overlap = np.where(free, row, -1.0)
            best = overlap.argmax() if len(overlap) else 0
            if not len(overlap) or overlap[best] < IOU_THRESHOLD:
                counts[BACKGROUND, label] += 1
                continue
            if not difficult[best]:
                counts[true_labels[best], label] += 1
                free[best] = False
        np.add.at(counts[:, BACKGROUND], true_labels[free & ~difficult], 1)
        self.counts += counts
        return counts
