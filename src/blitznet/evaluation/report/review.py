"""An evaluation that also keeps the confusion of boxes, and the best and worst images."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from blitznet.detections import Detections
from blitznet.evaluation.average_precision import TrueBoxes
from blitznet.evaluation.box_confusion import box_confusion
from blitznet.evaluation.metrics import Evaluation
from blitznet.structures import Sample

SCORE = 0.5  # of detections that count in the confusion and are drawn, as in `blitznet predict`
KEPT = 6  # images, of the best and of the worst


@dataclass(frozen=True)
class EvaluatedImage:
    """An image with what was found in it.

    Attributes:
        sample: with its labels.
        detections: boxes in pixels, from `SCORE` on; None without that task.
        seg_map: (H, W) uint8 class ids; None without that task.
        f1: of the boxes, 0..1; None where boxes are not labelled or not found.
        mean_iou: over the classes that its map or its labels show, 0..1; None likewise.
    """

    sample: Sample
    detections: Detections | None
    seg_map: np.ndarray | None
    f1: float | None = None
    mean_iou: float | None = None


_Ranking = list[tuple[float, EvaluatedImage]]


class DetailedEvaluation(Evaluation):
    """Images are ranked by the mean of F1 and mean IoU, or the one of them that there is.

    Those that show nothing, and in which nothing is found, are not ranked.

    Attributes:
        box_counts: (C, C) int64, [true, predicted], see `box_confusion`.
    """

    def __init__(self, names: Sequence[str]):
        super().__init__(names)
        self.box_counts = np.zeros((len(names), len(names)), dtype=np.int64)
        self._figures: dict[str, float] = {}  # of the image at hand
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
        # Sorting is stable: of equal scores, the first images are kept.
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
        if total:  # else nothing is there and nothing is found: right, but nothing to look at
            self._figures["f1"] = float(2 * counts.diagonal()[1:].sum() / total)

    def add_pixels(self, counts: np.ndarray) -> None:
        """See `Evaluation.add_pixels`."""
        super().add_pixels(counts)
        # Over the classes of either map, so that a class which is not there costs something.
        union = counts.sum(axis=0) + counts.sum(axis=1) - counts.diagonal()
        shown = union > 0
        if shown[1:].any():
            self._figures["mean_iou"] = float((counts.diagonal()[shown] / union[shown]).mean())

    @property
    def best(self) -> list[EvaluatedImage]:
        """Up to `KEPT` images of the better half, the best first; of score 0, none."""
        better = self._best[: (self._num_ranked + 1) // 2]
        return [image for score, image in better if score > 0]

    @property
    def worst(self) -> list[EvaluatedImage]:
        """Up to `KEPT` images, the worst first; those that are among the best are left out."""
        best = {id(image) for image in self.best}
        return [image for _, image in self._worst if id(image) not in best]
