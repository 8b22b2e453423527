"""Average precision by the protocol of Pascal VOC's development kit.

VOC07 uses the 11-point measure ("voc07" here; Everingham et al., "The Pascal Visual Object Classes
(VOC) Challenge", IJCV 2010), VOC10 and later the area under the curve ("voc12").
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
        labels: (G,) int64 class ids from 1; IGNORE_LABEL = any class.
        difficult: (G,) bool; True where the label is IGNORE_LABEL.
    """

    boxes: np.ndarray
    labels: np.ndarray
    difficult: np.ndarray


class PrecisionRecall(NamedTuple):
    """The curve of a class after each of its detections, in order of descending score.

    Attributes:
        recall: (K,) float64, ascending.
        precision: (K,) float64.
        scores: (K,) float32.
    """

    recall: np.ndarray
    precision: np.ndarray
    scores: np.ndarray


class AveragePrecision:
    """VOC AP of every class, accumulated image by image.

    A detection is assigned to the box of its class that it overlaps most, even if that is taken. It
    is correct if their IoU is at least 0.5 (D11: the paper says "higher than", the kit's
    `VOCevaldet.m` has `>=`) and no better detection took the box; otherwise it is a false positive.
    Difficult boxes are ignored, whether found or missed. So is a detection that overlaps a box of
    IGNORE_LABEL but none of its class.

    The kit adds 1 to widths and heights. Our boxes are continuous and do not need it: x1 is VOC's
    xmin - 1, and x2 its inclusive xmax.
    """

    def __init__(self, num_classes: int) -> None:
        """`num_classes` includes background."""
        self.num_classes = num_classes
        self._num_true = np.zeros(num_classes, dtype=np.int64)
        # Labels, scores and correctness of the detections of each image.
        self._judged = [(np.empty(0, dtype=np.int64), np.empty(0), np.empty(0, dtype=bool))]

    def update(self, found: Detections, true: TrueBoxes) -> None:
        """Add one image; on equal scores, earlier detections and images rank first."""
        counted, correct = _judge(found, true)
        self._judged.append((found.labels[counted], found.scores[counted], correct[counted]))
        self._num_true += np.bincount(true.labels[~true.difficult], minlength=self.num_classes)

    def compute(self) -> dict[str, list[float | None]]:
        """AP of every class over the images so far.

        Returns:
            "voc07" (11 points) and "voc12" (area), each a list of C fractions indexed by class id.
            None for a class without ground truth, such as background.
        """
        by_label = self.curves()
        curves = [by_label.get(label) for label in range(self.num_classes)]
        measures = {"voc07": eleven_point_ap, "voc12": area_ap}
        return {
            name: [None if one is None else measure(one.recall, one.precision) for one in curves]
            for name, measure in measures.items()
        }

    def curves(self) -> dict[int, PrecisionRecall]:
        """Curves by class id, for classes with ground truth that is not ignored."""
        labels, scores, correct = map(np.concatenate, zip(*self._judged, strict=True))
        order = np.argsort(-scores, kind="stable")
        labels, scores, correct = labels[order], scores[order], correct[order]
        curves = {}
        for label in np.flatnonzero(self._num_true).tolist():
            of_class = labels == label
            true_positives = np.cumsum(correct[of_class])
            precision = true_positives / np.arange(1, len(true_positives) + 1)
            recall = true_positives / self._num_true[label]
            curves[label] = PrecisionRecall(recall, precision, scores[of_class])
        return curves


def eleven_point_ap(recall: np.ndarray, precision: np.ndarray) -> float:
    """Mean over r = 0, 0.1, ... 1 of the best precision at recall >= r (VOC07).

    Args:
        recall: (K,) float, ascending, after each detection in order of descending score.
        precision: (K,) float, likewise.
    """
    # Not k * 0.1, which is above 0.3 for k = 3 and would miss a recall of exactly 3 / 10.
    return float(np.mean([precision[recall >= k / 10].max(initial=0) for k in range(11)]))


def area_ap(recall: np.ndarray, precision: np.ndarray) -> float:
    """Area under the curve with monotonically decreasing precision (since VOC10, `VOCap.m`).

    For the arguments, see `eleven_point_ap`.
    """
    return float(np.sum(np.diff(recall, prepend=0) * precision_envelope(precision)))


def precision_envelope(precision: np.ndarray) -> np.ndarray:
    """(K,) float, made monotonically decreasing: the best precision at this or a higher recall."""
    return np.maximum.accumulate(precision[::-1])[::-1]


def box_iou(boxes: np.ndarray, true_boxes: np.ndarray) -> np.ndarray:
    """(K, 4) and (G, 4) xyxy to (K, G) float64 intersection over union."""
    both = (torch.from_numpy(array.astype(np.float64)) for array in (boxes, true_boxes))
    return pairwise_iou(*both).numpy()


def _judge(found: Detections, true: TrueBoxes) -> tuple[np.ndarray, np.ndarray]:
    """Which detections of an image are not ignored, and which are correct: two (K,) bool."""
    iou = box_iou(found.boxes, true.boxes)
    in_ignored = (iou[:, true.labels == IGNORE_LABEL] >= IOU_THRESHOLD).any(axis=1)
    iou[found.labels[:, None] != true.labels] = 0
    iou = np.pad(iou, ((0, 0), (0, 1)))  # a last column for "no box", so that G = 0 works
    best = iou.argmax(axis=1)
    matched = iou.max(axis=1) >= IOU_THRESHOLD
    ignored = np.where(matched, np.append(true.difficult, False)[best], in_ignored)

    claims = np.flatnonzero(matched & ~ignored)
    claims = claims[np.argsort(-found.scores[claims], kind="stable")]
    _, first = np.unique(best[claims], return_index=True)
    correct = np.zeros(len(found.boxes), dtype=bool)
    correct[claims[first]] = True
    return ~ignored, correct
