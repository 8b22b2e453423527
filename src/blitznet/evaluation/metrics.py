"""The metrics of a network on a split: accumulated image by image, then `metrics.json` as a value.

A task without labels, or without a head, has no figures; a class without ground truth neither.
"""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from blitznet.classes import BACKGROUND, IGNORE_INDEX
from blitznet.detections import Detections
from blitznet.errors import InputError
from blitznet.evaluation.average_precision import AveragePrecision
from blitznet.evaluation.coco_ap import CocoAveragePrecision
from blitznet.evaluation.mean_iou import MeanIoU
from blitznet.structures import Sample

ByClass = dict[str, float | None]


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """What was measured; all figures are fractions.

    Attributes:
        model: name or path of the network; empty for one in memory.
        data: path of the data description; empty for sources in memory.
        split: of the data.
        pictures: number of images.
        classes: the means are over these.
        mean_ap: mean average precision by kind: voc07 (11 points), voc12 (area), coco (0.5:0.95),
            coco_50 and coco_75; None without boxes.
        ap: of each class, by kind; None for a class without ground truth.
        mean_iou: over background and `classes`; None without segmentation maps.
        iou: of each class, background included.
        engine: that ran the network; not in `metrics.json`.
        seconds: that measuring took; not in `metrics.json`.
    """

    model: str = ""
    data: str = ""
    split: str = ""
    pictures: int
    classes: tuple[str, ...]
    mean_ap: ByClass | None
    ap: dict[str, ByClass] | None
    mean_iou: float | None
    iou: ByClass | None
    engine: str = ""
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """What `metrics.json` holds."""
        content = asdict(self) | {"classes": list(self.classes)}
        del content["engine"], content["seconds"]
        return content

    @property
    def has_figures(self) -> bool:
        """Whether anything could be measured."""
        return self.ap is not None or self.iou is not None

    @property
    def score(self) -> float | None:
        """What makes one network better than another: the mean of VOC12 mAP and mean IoU.

        Of a network or labels for one task, that task's alone; None without labels.
        """
        mean_ap = None if self.mean_ap is None else self.mean_ap["voc12"]
        figures = [figure for figure in (mean_ap, self.mean_iou) if figure is not None]
        return sum(figures) / len(figures) if figures else None

    def summary(self) -> dict[str, Any]:
        """The figures that a checkpoint carries of itself."""
        content = self.to_dict()
        return {key: content[key] for key in ("pictures", "classes", "mean_ap", "mean_iou")}


class Evaluation:
    """Metrics of both tasks, accumulated image by image."""

    def __init__(self, names: Sequence[str]):
        """`names` are those of the classes, background first."""
        self.names = tuple(names)
        self.voc_ap = AveragePrecision(len(names))
        self.coco_ap = CocoAveragePrecision(len(names))
        self.mean_iou = MeanIoU(len(names))
        self.num_images = 0
        self.has_boxes = self.has_maps = False

    def update(
        self, sample: Sample, detections: Detections | None, seg_map: np.ndarray | None
    ) -> None:
        """Add one image. What is found of a class that its source does not label is ignored.

        Args:
            sample: with its labels.
            detections: boxes in pixels of the image; None for a network that does not detect.
            seg_map: (H, W) uint8, of the image's size; None for one that does not segment.
        """
        self.num_images += 1
        if detections is not None and sample.boxes is not None:
            detections = known_detections(sample, detections)
            truth = sample.boxes, sample.labels, sample.difficult
            self.voc_ap.update(*detections, *truth)
            self.coco_ap.update(*detections, *truth)
            self.has_boxes = True
        if seg_map is not None and sample.seg_map is not None:
            self.mean_iou.update(seg_map, known_map(sample.seg_map, sample, seg_map))
            self.has_maps = True

    def require_classes(self, classes: Sequence[str]) -> None:
        """Raise InputError if one of these classes does not exist."""
        unknown = sorted(set(classes) - set(self.names[1:]))
        if unknown:
            raise InputError(
                f"no class is called {unknown[0]!r}; there are {', '.join(self.names[1:])}"
            )

    def compute(self, classes: Sequence[str] | None = None) -> Metrics:
        """The metrics so far, without model, data and split.

        Args:
            classes: the means are over these; None = all with ground truth.

        Raises:
            InputError: if a class does not exist.
        """
        chosen = self.names[1:] if classes is None else tuple(classes)
        self.require_classes(chosen)
        mean_ap = ap = mean_iou = iou = None
        if self.has_boxes:
            ap = {
                kind: dict(zip(self.names[1:], values[1:], strict=True))
                for kind, values in (self.voc_ap.compute() | self.coco_ap.compute()).items()
            }
            mean_ap = {kind: _mean(values, chosen) for kind, values in ap.items()}
        if self.has_maps:
            iou = dict(zip(self.names, self.mean_iou.compute(), strict=True))
            mean_iou = _mean(iou, (self.names[BACKGROUND], *chosen))
        return Metrics(
            pictures=self.num_images,
            classes=chosen,
            mean_ap=mean_ap,
            ap=ap,
            mean_iou=mean_iou,
            iou=iou,
        )


def _mean(values: Mapping[str, float | None], classes: Sequence[str]) -> float | None:
    present = [value for name in classes if (value := values[name]) is not None]
    return float(np.mean(present)) if present else None


def known_detections(sample: Sample, detections: Detections) -> Detections:
    """Without those of classes that the image's source does not label."""
    if sample.known_classes is None:
        return detections
    known = sample.known_classes[detections.labels]
    return Detections(*(values[known] for values in detections))


def known_map(true_map: np.ndarray, sample: Sample, seg_map: np.ndarray) -> np.ndarray:
    """The labels, with void where `seg_map` has classes that the image's source does not label."""
    if sample.known_classes is None or sample.known_classes.all():
        return true_map
    is_open = (true_map == BACKGROUND) & ~sample.known_classes[seg_map]
    return np.where(is_open, np.uint8(IGNORE_INDEX), true_map)
