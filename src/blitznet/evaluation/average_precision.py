"""Average precision as Pascal VOC measures it: the protocol of its development kit.

Everingham et al., "The Pascal Visual Object Classes (VOC) Challenge", IJCV 2010, has the 11-point
measure of VOC07 ("voc07" here); from 2010 on it is the area under the curve ("voc12").
"""

from typing import NamedTuple

import numpy as np
import torch

from blitznet.detection.boxes import pairwise_iou
from blitznet.detections import Detections
from blitznet.structures import IGNORE_LABEL

IOU_THRESHOLD = 0.5


class TrueBoxes(NamedTuple):
    """The labelled boxes of one image.

    Attributes:
        boxes: (G, 4) float xyxy in pixels of the image; G may be 0.
        labels: (G,) int64 class ids from 1 on; IGNORE_LABEL = of any class.
        difficult: (G,) bool; of IGNORE_LABEL, True.
    """

    boxes: np.ndarray
    labels: np.ndarray
    difficult: np.ndarray


class AveragePrecision:
    """VOC AP of every class, accumulated image by image.

    A detection belongs to the box of its class and image that it overlaps most, claimed already
    or not. It is correct if their IoU reaches 0.5 (D11: the paper says "higher than", the kit's
    `VOCevaldet.m` has `>=`) and no better detection claimed that box; a second one is a false
    positive. Difficult boxes are ignored, found or missed; so is a detection that overlaps no box
    of its class, but one of IGNORE_LABEL.

    The kit's "+1" in widths is absent: our boxes are continuous, x2 is VOC's inclusive xmax and x1
    its xmin - 1.
    """

    def __init__(self, num_classes: int) -> None:
        """`num_classes` includes background."""
        self.num_classes = num_classes
        self._num_true = np.zeros(num_classes, dtype=np.int64)
        # Label, score and whether it is correct, of the detections of each image.
        self._judged = [(np.empty(0, dtype=np.int64), np.empty(0), np.empty(0, dtype=bool))]

    def update(self, found: Detections, true: TrueBoxes) -> None:
        """Add one image; among equal scores, earlier detections and images come first."""
        counted, correct = _judge(found, true)
        self._judged.append((found.labels[counted], found.scores[counted], correct[counted]))
        self._num_true += np.bincount(true.labels[~true.difficult], minlength=self.num_classes)

    def compute(self) -> dict[str, list[float | None]]:
        """AP of every class so far.

        Returns:
            "voc07" (11 points) and "voc12" (area), each a list of C fractions indexed by class id.
            None for a class without ground truth, such as background.
        """
        by_label = self.curves()
        curves = [by_label.get(label) for label in range(self.num_classes)]
        measures = {"voc07": eleven_point_ap, "voc12": area_ap}
        return {
            name: [None if curve is None else measure(*curve) for curve in curves]
            for name, measure in measures.items()
        }

    def curves(self) -> dict[int, tuple[np.ndarray, np.ndarray]]:
        """Recall and precision after each detection by falling score.

        Returns:
            By class id, for those with ground truth that counts: two (K,) float arrays.
        """
        labels, scores, correct = map(np.concatenate, zip(*self._judged, strict=True))
        order = np.argsort(-scores, kind="stable")
        labels, correct = labels[order], correct[order]
        curves = {}
        for label in np.flatnonzero(self._num_true).tolist():
            true_positives = np.cumsum(correct[labels == label])
            recall = true_positives / self._num_true[label]
            curves[label] = recall, true_positives / np.arange(1, len(true_positives) + 1)
        return curves


def eleven_point_ap(recall: np.ndarray, precision: np.ndarray) -> float:
    """Mean of the best precision at recall >= 0, 0.1, ... 1 (VOC07).

    Args:
        recall: (K,) float, ascending, after each detection by falling score.
        precision: (K,) float, likewise.
    """
    # k / 10 and not k * 0.1, which is above 0.3 for k = 3 and so misses a recall of exactly 3 / 10.
    return float(np.mean([precision[recall >= k / 10].max(initial=0) for k in range(11)]))


def area_ap(recall: np.ndarray, precision: np.ndarray) -> float:
    """Area under the curve, with monotonically decreasing precision (VOC10 on, `VOCap.m`).

    Arguments as of `eleven_point_ap`.
    """
    return float(np.sum(np.diff(recall, prepend=0) * precision_envelope(precision)))


def precision_envelope(precision: np.ndarray) -> np.ndarray:
    """(K,) float, made to fall monotonically: the best precision from each recall on."""
    return np.maximum.accumulate(precision[::-1])[::-1]


def box_iou(boxes: np.ndarray, true_boxes: np.ndarray) -> np.ndarray:
    """(K, 4) and (G, 4) xyxy to (K, G) float64 intersection over union."""
    both = (torch.from_numpy(array.astype(np.float64)) for array in (boxes, true_boxes))
    return pairwise_iou(*both).numpy()


def _judge(found: Detections, true: TrueBoxes) -> tuple[np.ndarray, np.ndarray]:
    """Which detections of an image count, and which of them are correct: two (K,) bool."""
    iou = box_iou(found.boxes, true.boxes)
    in_ignored = (iou[:, true.labels == IGNORE_LABEL] >= IOU_THRESHOLD).any(axis=1)
    iou[found.labels[:, None] != true.labels] = 0
    iou = np.pad(iou, ((0, 0), (0, 1)))  # the last column is "no box", so G = 0 has a maximum too
    best = iou.argmax(axis=1)
    matched = iou.max(axis=1) >= IOU_THRESHOLD
    ignored = np.where(matched, np.append(true.difficult, False)[best], in_ignored)

    claims = np.flatnonzero(matched & ~ignored)
    claims = claims[np.argsort(-found.scores[claims], kind="stable")]
    _, first = np.unique(best[claims], return_index=True)
    correct = np.zeros(len(found.boxes), dtype=bool)
    correct[claims[first]] = True
    return ~ignored, correct
