"""The evaluation loop. There is one."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import numpy as np
from torch.utils.data import Dataset

from blitznet.classes import BACKGROUND, IGNORE_INDEX
from blitznet.data.geometry import resize_sample
from blitznet.data.loader import prepare_ahead
from blitznet.data.source import LabelSource, locate
from blitznet.detection.limits import SCORE_THRESHOLD
from blitznet.errors import InputError
from blitznet.evaluation.average_precision import AveragePrecision
from blitznet.evaluation.coco_ap import CocoAveragePrecision
from blitznet.evaluation.mean_iou import MeanIoU
from blitznet.inference.class_map import classify_pixels
from blitznet.inference.engines.engine import Engine
from blitznet.structures import Sample


@dataclass(frozen=True)
class TestItem:
    """A labelled picture and what the network gets to see of it.

    Attributes:
        sample: with labels in pixels of the picture.
        pixels: (S, S, 3) uint8 RGB.
    """

    __test__ = False  # no test class, whatever pytest thinks of the name

    sample: Sample
    pixels: np.ndarray


class TestItems(Dataset[TestItem | InputError]):
    """Every picture of some sources once, in order."""

    __test__ = False

    def __init__(self, sources: Sequence[LabelSource], size: int):
        self.sources = list(sources)
        self.size = size

    def __len__(self) -> int:
        return sum(map(len, self.sources))

    def __getitem__(self, position: int) -> TestItem | InputError:
        """An error is returned, not raised; see `prepare_ahead`."""
        try:
            source, index = locate(self.sources, position)
            sample = source.read(index)
        except InputError as error:
            return error
        return TestItem(sample, resize_sample(sample, self.size).image)


Detections = tuple[np.ndarray, np.ndarray, np.ndarray]  # boxes in pixels, labels, scores
Prediction = tuple[TestItem, Detections | None, np.ndarray | None]


class Evaluation:
    """Metrics of both tasks, accumulated picture by picture; a task without labels stays null."""

    def __init__(self, names: Sequence[str]):
        self.names = tuple(names)
        self.voc_ap = AveragePrecision(len(names))
        self.coco_ap = CocoAveragePrecision(len(names))
        self.mean_iou = MeanIoU(len(names))
        self.num_pictures = 0
        self.has_boxes = self.has_maps = False

    def update(
        self,
        sample: Sample,
        detections: Detections | None,
        seg_map: np.ndarray | None,
    ) -> None:
        """Add one picture: detections as boxes in its pixels, labels, scores; a map of its size.

        Of a class that the picture's source does not label, what is found neither helps nor hurts.
        """
        self.num_pictures += 1
        if detections is not None and sample.boxes is not None:
            detections = known_detections(sample, detections)
            truth = sample.boxes, sample.labels, sample.difficult
            self.voc_ap.update(*detections, *truth)
            self.coco_ap.update(*detections, *truth)
            self.has_boxes = True
        if seg_map is not None and sample.seg_map is not None:
            self.mean_iou.update(seg_map, known_map(sample.seg_map, sample, seg_map))
            self.has_maps = True

    def compute(self, classes: Sequence[str] | None = None) -> dict[str, Any]:
        """The figures of `metrics.json`, all fractions.

        Args:
            classes: the means are over these; None = all with ground truth. The mean IoU takes
                background in besides.

        Raises:
            InputError: if a class does not exist.
        """
        chosen = list(self.names[1:] if classes is None else classes)
        unknown = sorted(set(chosen) - set(self.names[1:]))
        if unknown:
            raise InputError(
                f"no class is called {unknown[0]!r}; there are {', '.join(self.names[1:])}"
            )
        average_precision: dict[str, list[float | None]] | None = None
        if self.has_boxes:
            average_precision = self.voc_ap.compute() | self.coco_ap.compute()
        iou = self.mean_iou.compute() if self.has_maps else None
        return {
            "pictures": self.num_pictures,
            "classes": chosen,
            "mean_ap": average_precision
            and {kind: self._mean(values, chosen) for kind, values in average_precision.items()},
            "ap": average_precision
            and {
                kind: dict(zip(self.names[1:], values[1:], strict=True))
                for kind, values in average_precision.items()
            },
            "mean_iou": iou and self._mean(iou, [self.names[BACKGROUND], *chosen]),
            "iou": iou and dict(zip(self.names, iou, strict=True)),
        }

    def _mean(self, values: Sequence[float | None], classes: Sequence[str]) -> float | None:
        counted = [values[self.names.index(name)] for name in classes]
        present = [value for value in counted if value is not None]
        return float(np.mean(present)) if present else None


def known_detections(sample: Sample, detections: Detections) -> Detections:
    """Without those of classes that the picture's source does not label."""
    if sample.known_classes is None:
        return detections
    boxes, labels, scores = detections
    known = sample.known_classes[labels]
    return boxes[known], labels[known], scores[known]


def known_map(true_map: np.ndarray, sample: Sample, seg_map: np.ndarray) -> np.ndarray:
    """The labels with void where `seg_map` sees what the picture's source does not label."""
    if sample.known_classes is None or sample.known_classes.all():
        return true_map
    is_open = (true_map == BACKGROUND) & ~sample.known_classes[seg_map]
    return np.where(is_open, np.uint8(IGNORE_INDEX), true_map)


def evaluate(
    runtime: Engine,
    sources: Sequence[LabelSource],
    classes: Sequence[str] | None = None,
    batch_size: int = 16,
    workers: int = 1,
    found: Callable[[Detections | None, np.ndarray | None], None] | None = None,
    evaluation: Evaluation | None = None,
) -> dict[str, Any]:
    """Measure a network on labelled pictures.

    Args:
        runtime: what runs it.
        sources: of one split.
        classes: see `Evaluation.compute`.
        batch_size: pictures a forward pass.
        workers: processes that read pictures.
        found: told the detections and the map of every picture, in order.
        evaluation: takes the pictures in, to look into afterwards; None = a new one.

    Returns:
        See `Evaluation.compute`.

    Raises:
        InputError: for the first picture or label that cannot be used.
    """
    evaluation = evaluation or Evaluation(runtime.info.names)
    for item, detections, seg_map in predict_items(runtime, sources, batch_size, workers):
        evaluation.update(item.sample, detections, seg_map)
        if found is not None:
            found(detections, seg_map)
    return evaluation.compute(classes)


def predict_items(
    runtime: Engine,
    sources: Sequence[LabelSource],
    batch_size: int = 16,
    workers: int = 1,
) -> Iterator[Prediction]:
    """Every picture with boxes, labels and scores in its pixels, and its map; see `evaluate`."""
    items = TestItems(sources, runtime.info.model.image_size)
    positions = [
        list(range(start, min(start + batch_size, len(items))))
        for start in range(0, len(items), batch_size)
    ]
    with closing(prepare_ahead(items, positions, list, workers)) as batches:
        for batch in batches:
            yield from _predict_batch(runtime, batch)


def _predict_batch(runtime: Engine, items: list[TestItem]) -> list[Prediction]:
    output = runtime.run(np.stack([item.pixels for item in items]), SCORE_THRESHOLD)
    predictions: list[Prediction] = []
    for index, item in enumerate(items):
        width, height = item.sample.size
        objects = seg_map = None
        if output.detections is not None:
            boxes, labels, scores = output.detections[index]
            scale = np.array([width, height] * 2, np.float32) / runtime.info.model.image_size
            objects = boxes * scale, labels, scores
        if output.seg_logits is not None:
            seg_map = classify_pixels(output.seg_logits[index], width, height)
        predictions.append((item, objects, seg_map))
    return predictions
