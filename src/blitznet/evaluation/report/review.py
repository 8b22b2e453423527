"""An evaluation that also keeps the confusion matrix of boxes and the best and worst images."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from blitznet.detections import Detections
from blitznet.evaluation.average_precision import TrueBoxes
from blitznet.evaluation.box_confusion import box_confusion
from blitznet.evaluation.metrics import Evaluation
from blitznet.structures import Sample

SCORE = 0.5  # minimum score of counted and drawn detections, as in `blitznet predict`
KEPT = 6  # number of best images, and of worst images


@dataclass(frozen=True)
class EvaluatedImage:
    """An image with its prediction and figures.

    Attributes:
        sample: the image with its labels.
        detections: boxes in pixels with a score of at least `SCORE`; None without that task.
        seg_map: (H, W) uint8 class ids; None without that task.
        f1: F1 of the boxes, 0..1; None if boxes are not labelled, or there are none at all.
        mean_iou: mean IoU over the classes in the prediction or the labels, 0..1; None likewise.
    """

    sample: Sample
    detections: Detections | None
    seg_map: np.ndarray | None
    f1: float | None = None
    mean_iou: float | None = None


_Ranking = list[tuple[float, EvaluatedImage]]


class DetailedEvaluation(Evaluation):
    """An evaluation that ranks images by the mean of F1 and mean IoU, or by the only one available.

    Images without any true or predicted object are not ranked.

    Attributes:
        box_counts: (C, C) int64, [true, predicted], see `box_confusion`.
    """

    def __init__(self, names: Sequence[str]):
        super().__init__(names)
        self.box_counts = np.zeros((len(names), len(names)), dtype=np.int64)
        self._num_ranked = 0
        self._best: _Ranking = []
        self._worst: _Ranking = []

    def update(
        self, sample: Sample, detections: Detections | None, seg_map: np.ndarray | None
    ) -> tuple[Detections | None, np.ndarray | None]:
        """See `Evaluation.update`."""
        counted, pixels = super().update(sample, detections, seg_map)
        figures = {}
        if counted is not None and sample.boxes is not None:
            true = TrueBoxes(sample.boxes, sample.labels, sample.difficult)
            boxes = box_confusion(counted, true, len(self.names), SCORE)
            self.box_counts += boxes
            total = boxes[1:].sum() + boxes[:, 1:].sum()
            if total:  # without any true or predicted box, there is nothing to show
                figures["f1"] = float(2 * boxes.diagonal()[1:].sum() / total)
        if pixels is not None:
            # Over the classes of either map, so that a wrongly predicted class lowers the mean.
            union = pixels.sum(axis=0) + pixels.sum(axis=1) - pixels.diagonal()
            shown = union > 0
            if shown[1:].any():
                figures["mean_iou"] = float((pixels.diagonal()[shown] / union[shown]).mean())
        if figures:
            if detections is not None:
                is_shown = detections.scores >= SCORE
                detections = Detections(*(values[is_shown] for values in detections))
            image = EvaluatedImage(sample, detections, seg_map, **figures)
            ranked = (sum(figures.values()) / len(figures), image)
            # Sorting is stable: on equal scores, the earlier images are kept.
            self._num_ranked += 1
            self._best = sorted([*self._best, ranked], key=lambda one: -one[0])[:KEPT]
            self._worst = sorted([*self._worst, ranked], key=lambda one: one[0])[:KEPT]
        return counted, pixels

    @property
    def best(self) -> list[EvaluatedImage]:
        """Up to `KEPT` images of the better half, best first, without those of score 0."""
        better = self._best[: (self._num_ranked + 1) // 2]
        return [image for score, image in better if score > 0]

    @property
    def worst(self) -> list[EvaluatedImage]:
        """Up to `KEPT` images, worst first, without those among the best."""
        best = {id(image) for image in self.best}
        return [image for _, image in self._worst if id(image) not in best]
