"""An evaluation that also keeps the confusion of boxes, and the best and worst images."""

from collections.abc import Sequence
from dataclasses import dataclass
from heapq import heappush, heappushpop

import numpy as np

from blitznet.classes import BACKGROUND
from blitznet.detections import Detections
from blitznet.evaluation.box_confusion import BoxConfusion
from blitznet.evaluation.mean_iou import MeanIoU
from blitznet.evaluation.metrics import Evaluation, known_detections, known_map
from blitznet.structures import Sample

SCORE = 0.5  # of detections that count in the confusion and are drawn, as in `blitznet predict`
KEPT = 6  # images, of the best and of the worst


@dataclass(frozen=True)
class ReviewedImage:
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
    f1: float | None
    mean_iou: float | None

    @property
    def score(self) -> float | None:
        """Mean of both figures, or the one that there is."""
        figures = [figure for figure in (self.f1, self.mean_iou) if figure is not None]
        return sum(figures) / len(figures) if figures else None


_Heap = list[tuple[float, int, ReviewedImage]]


class Review(Evaluation):
    """See the module; nothing but what is kept is held in memory."""

    def __init__(self, names: Sequence[str]):
        super().__init__(names)
        self.box_confusion = BoxConfusion(len(names), SCORE)
        # Heaps by score, negative for the worst; the number keeps images from being compared.
        self._best: _Heap = []
        self._worst: _Heap = []

    def update(
        self, sample: Sample, detections: Detections | None, seg_map: np.ndarray | None
    ) -> None:
        """See `Evaluation.update`."""
        super().update(sample, detections, seg_map)
        f1 = mean_iou = None
        if detections is not None and sample.boxes is not None:
            known = known_detections(sample, detections)
            truth = sample.boxes, sample.labels, sample.difficult
            f1 = _f1(self.box_confusion.update(*known, *truth))
        if seg_map is not None and sample.seg_map is not None:
            mean_iou = _mean_iou(
                seg_map, known_map(sample.seg_map, sample, seg_map), len(self.names)
            )
        image = ReviewedImage(sample, _shown(detections), seg_map, f1, mean_iou)
        if image.score is not None:
            _keep(self._best, (image.score, -self.num_images, image))
            _keep(self._worst, (-image.score, -self.num_images, image))

    @property
    def best(self) -> list[ReviewedImage]:
        """Up to `KEPT` images, the best first."""
        return [image for *_, image in sorted(self._best, key=lambda item: item[:2])[::-1]]

    @property
    def worst(self) -> list[ReviewedImage]:
        """Up to `KEPT` images, the worst first; those that are among the best are left out."""
        best = {id(image) for image in self.best}
        ordered = sorted(self._worst, key=lambda item: item[:2])[::-1]
        return [image for *_, image in ordered if id(image) not in best]


def _keep(heap: _Heap, item: tuple[float, int, ReviewedImage]) -> None:
    (heappush if len(heap) < KEPT else heappushpop)(heap, item)


def _shown(detections: Detections | None) -> Detections | None:
    """Those from `SCORE` on, best score first."""
    if detections is None:
        return None
    order = np.argsort(-detections.scores, kind="stable")
    order = order[detections.scores[order] >= SCORE]
    return Detections(*(values[order] for values in detections))


def _f1(counts: np.ndarray) -> float:
    """Of one image's (C, C) counts; 1 where there is nothing and nothing is found."""
    total = counts[1:].sum() + counts[:, 1:].sum()
    return float(2 * counts.diagonal()[BACKGROUND + 1 :].sum() / total) if total else 1.0


def _mean_iou(seg_map: np.ndarray, true_map: np.ndarray, num_classes: int) -> float | None:
    """Over the classes of either map, so that a class which is not there costs something."""
    metric = MeanIoU(num_classes)
    metric.update(seg_map, true_map)
    intersection = metric.confusion.diagonal()
    union = metric.confusion.sum(axis=0) + metric.confusion.sum(axis=1) - intersection
    shown = union > 0
    return float((intersection[shown] / union[shown]).mean()) if shown.any() else None
