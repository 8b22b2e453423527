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
        self._figures: dict[str, float] = {}  # of the current image
        self._num_ranked = 0
        self._best: _Ranking = []
        self._worst: _Ranking = []

    def update(
        self, sample: Sample, detections: Detections | None, seg_map: np.ndarray | None
    ) -> None:
        """See `Evaluation.update`."""
        self._figures = {}
        super().update(sample, detections, seg_map)
        if not self._figures:
            return
        if detections is not None:
            is_shown = detections.scores >= SCORE
            detections = Detections(*(values[is_shown] for values in detections))
        image = EvaluatedImage(sample, detections, seg_map, **self._figures)
        score = sum(self._figures.values()) / len(self._figures)
        # Sorting is stable: on equal scores, the earlier images are kept.
        self._num_ranked += 1
        ranked = (score, image)
        self._best = sorted([*self._best, ranked], key=lambda one: -one[0])[:KEPT]
        self._worst = sorted([*self._worst, ranked], key=lambda one: one[0])[:KEPT]

    def add_boxes(self, found: Detections, true: TrueBoxes) -> None:
        """See `Evaluation.add_boxes`."""
        super().add_boxes(found, true)
        counts = box_confusion(found, true, len(self.names), SCORE)
        self.box_counts += counts
        total = counts[1:].sum() + counts[:, 1:].sum()
        if total:  # without any true or predicted box, there is nothing to show
            self._figures["f1"] = float(2 * counts.diagonal()[1:].sum() / total)

    def add_pixels(self, counts: np.ndarray) -> None:
        """See `Evaluation.add_pixels`."""
        super().add_pixels(counts)
        # Over the classes of either map, so that a wrongly predicted class lowers the mean.
        union = counts.sum(axis=0) + counts.sum(axis=1) - counts.diagonal()
        shown = union > 0
        if shown[1:].any():
            self._figures["mean_iou"] = float((counts.diagonal()[shown] / union[shown]).mean())

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
