"""The metrics of a network on a split, accumulated image by image, and `metrics.json`.

There are no figures for a task without labels or without a head, nor for a class without ground
truth or without labels in training.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from rich.table import Table

from blitznet.classes import BACKGROUND, IGNORE_INDEX
from blitznet.detections import Detections
from blitznet.errors import count_of
from blitznet.evaluation.average_precision import AveragePrecision, PrecisionRecall, TrueBoxes
from blitznet.evaluation.coco_ap import CocoAveragePrecision
from blitznet.evaluation.mean_iou import class_iou, pixel_confusion
from blitznet.inference.selection import find_class
from blitznet.structures import Sample

ByClass = dict[str, float | None]

_AP_TITLES = {"voc07": "AP (VOC07)", "voc12": "AP (VOC12)", "coco": "AP (COCO)"}
_COCO_KINDS = {"coco": "AP", "coco_50": "AP50", "coco_75": "AP75"}
_NOT_WRITTEN = {"curves", "boxes", "maps", "engine", "seconds"}  # fields of `Metrics`
_NOT_AVERAGED = " (not averaged)"


@dataclass(frozen=True, kw_only=True)
class Metrics:
    """The metrics of a network; all figures are fractions.

    Attributes:
        model: name or path of the network; empty for one in memory.
        data: path of the data description; empty for sources in memory.
        split: name of the split.
        pictures: number of images.
        classes: the averaged classes.
        mean_ap: mean average precision by kind: voc07 (11 points), voc12 (area), coco (0.5:0.95),
            coco_50 and coco_75; None without boxes.
        ap: AP of each class, by kind; None for a class without ground truth.
        coco: COCO's twelve figures, the means over `classes`: AP, AP50, AP75, APs, APm, APl, AR1,
            AR10, AR100, ARs, ARm, ARl; see `CocoAveragePrecision.compute`. None without boxes.
        mean_iou: mean over background and `classes`; None without segmentation maps.
        iou: IoU of each class, background included.
        curves: VOC's precision and recall of each class that has AP; not in `metrics.json`.
        boxes: number of boxes that are not ignored; not in `metrics.json`.
        maps: number of segmentation maps; not in `metrics.json`.
        engine: name of the engine that ran the network; not in `metrics.json`.
        seconds: duration of the evaluation; not in `metrics.json`.
    """

    model: str = ""
    data: str = ""
    split: str = ""
    pictures: int
    classes: tuple[str, ...]
    mean_ap: ByClass | None
    ap: dict[str, ByClass] | None
    coco: ByClass | None = None
    mean_iou: float | None
    iou: ByClass | None
    curves: dict[str, PrecisionRecall] = field(default_factory=dict, compare=False, repr=False)
    boxes: int = 0
    maps: int = 0
    engine: str = ""
    seconds: float = 0.0

    def to_dict(self) -> dict[str, Any]:
        """The content of `metrics.json`."""
        content = vars(self) | {"classes": list(self.classes)}
        return {key: value for key, value in content.items() if key not in _NOT_WRITTEN}

    @property
    def has_figures(self) -> bool:
        """Whether anything could be measured."""
        return self.ap is not None or self.iou is not None

    @property
    def score(self) -> float | None:
        """The figure by which networks are compared: the mean of VOC12 mAP and mean IoU.

        If only one task can be measured, its figure alone; None without labels.
        """
        mean_ap = None if self.mean_ap is None else self.mean_ap["voc12"]
        figures = [figure for figure in (mean_ap, self.mean_iou) if figure is not None]
        return sum(figures) / len(figures) if figures else None

    def summary(self) -> dict[str, Any]:
        """The figures that are saved in a checkpoint."""
        content = self.to_dict()
        return {key: content[key] for key in ("pictures", "classes", "mean_ap", "mean_iou")}


class Evaluation:
    """Metrics of both tasks, accumulated image by image."""

    def __init__(self, names: Sequence[str], by_area: bool = True):
        """`names` are the class names, background first; `by_area`: see `CocoAveragePrecision`."""
        self.names = tuple(names)
        self.voc_ap = AveragePrecision(len(names))
        self.coco_ap = CocoAveragePrecision(len(names), by_area)
        # [true, predicted]; created with the first map, because boxes alone may have huge C.
        self.pixel_counts = np.zeros((0, 0), dtype=np.int64)
        self.num_images = self.num_boxes = self.num_maps = 0
        self.has_boxes = False

    def update(
        self, sample: Sample, detections: Detections | None, seg_map: np.ndarray | None
    ) -> tuple[Detections | None, np.ndarray | None]:
        """Add one image. Detections of classes that its source does not label are ignored.

        Args:
            sample: the image with its labels.
            detections: boxes in pixels of the image; None if the network does not detect.
            seg_map: (H, W) uint8 at the image's size; None if the network does not segment.

        Returns:
            The detections that are not ignored, and the `pixel_confusion`; None for a task that
            cannot be measured.
        """
        self.num_images += 1
        known, counted, pixels = sample.known_classes, None, None
        if detections is not None and sample.boxes is not None:
            counted = detections
            if known is not None:
                is_known = known[detections.labels]
                counted = Detections(*(values[is_known] for values in detections))
            true = TrueBoxes(sample.boxes, sample.labels, sample.difficult)
            self.voc_ap.update(counted, true)
            self.coco_ap.update(counted, true)
            self.num_boxes += int(np.count_nonzero(~true.difficult))
            self.has_boxes = True
        if seg_map is not None and sample.seg_map is not None:
            true_map = sample.seg_map
            if known is not None and not known.all():
                is_open = (true_map == BACKGROUND) & ~known[seg_map]
                true_map = np.where(is_open, np.uint8(IGNORE_INDEX), true_map)
            pixels = pixel_confusion(seg_map, true_map, len(self.names))
            self.pixel_counts = self.pixel_counts + pixels if self.num_maps else pixels
            self.num_maps += 1
        return counted, pixels

    def require_classes(self, classes: Sequence[str]) -> None:
        """Raise InputError if one of these classes does not exist."""
        for name in classes:
            find_class(name, self.names)

    def compute(
        self,
        classes: Sequence[str] | None = None,
        learned_boxes: Sequence[str] | None = None,
        learned_masks: Sequence[str] | None = None,
    ) -> Metrics:
        """The metrics over the images so far, without model, data and split.

        Args:
            classes: classes to average over; None = all with ground truth.
            learned_boxes: classes whose boxes the network was trained on; others have no figures.
                None = all.
            learned_masks: likewise, for pixels.

        Raises:
            InputError: if a class does not exist.
        """
        chosen = self.names[1:] if classes is None else tuple(classes)
        self.require_classes(chosen)
        mean_ap = ap = coco = mean_iou = iou = None
        curves = {}
        if self.has_boxes:
            figures = {
                kind: _only(learned_boxes, dict(zip(self.names[1:], values[1:], strict=True)))
                for kind, values in (self.voc_ap.compute() | self.coco_ap.compute()).items()
            }
            voc = {kind: figures.pop(kind) for kind in ("voc07", "voc12")}
            ap = voc | {kind: figures[name] for kind, name in _COCO_KINDS.items()}
            mean_ap = {kind: _mean(values, chosen) for kind, values in ap.items()}
            coco = {name: _mean(values, chosen) for name, values in figures.items()}
            by_name = {self.names[label]: one for label, one in self.voc_ap.curves().items()}
            curves = {name: one for name, one in by_name.items() if ap["voc12"][name] is not None}
        if self.num_maps:
            by_class = dict(zip(self.names, class_iou(self.pixel_counts), strict=True))
            background = self.names[BACKGROUND]
            iou = _only(learned_masks and [background, *learned_masks], by_class)
            mean_iou = _mean(iou, (self.names[BACKGROUND], *chosen))
        return Metrics(
            pictures=self.num_images,
            classes=chosen,
            mean_ap=mean_ap,
            ap=ap,
            coco=coco,
            mean_iou=mean_iou,
            iou=iou,
            curves=curves,
            boxes=self.num_boxes,
            maps=self.num_maps,
        )


def _only(learned: Sequence[str] | None, values: ByClass) -> ByClass:
    """The figures of learned classes; None for all others."""
    return {
        name: value if learned is None or name in learned else None
        for name, value in values.items()
    }


def _mean(values: Mapping[str, float | None], classes: Sequence[str]) -> float | None:
    present = [value for name in classes if (value := values[name]) is not None]
    return float(np.mean(present)) if present else None


def metrics_rows(metrics: Metrics) -> list[list[str]]:
    """Metrics as text in per cent: titles, averaged classes, others with ground truth, means."""
    columns: list[tuple[str, Mapping[str, float | None], float | None]] = []
    if metrics.ap is not None and metrics.mean_ap is not None:
        for kind, title in _AP_TITLES.items():
            columns.append((title, metrics.ap[kind], metrics.mean_ap[kind]))
    if metrics.iou is not None:
        columns.append(("IoU", metrics.iou, metrics.mean_iou))
    labelled = {name for _, values, _ in columns for name in values if values[name] is not None}
    averaged = [name for name in ("background", *metrics.classes) if name in labelled]

    def row(name: str, note: str = "") -> list[str]:
        return [name + note, *(_per_cent(values.get(name)) for _, values, _ in columns)]

    return [
        ["class", *(title for title, _, _ in columns)],
        *(row(name) for name in averaged),
        *(row(name, _NOT_AVERAGED) for name in sorted(labelled - {*averaged})),
        ["mean", *(_per_cent(mean) for _, _, mean in columns)],
    ]


def metrics_table(metrics: Metrics) -> Table:
    """The metrics as a table for the terminal."""
    (first, *titles), *rows, means = metrics_rows(metrics)
    table = Table(first)
    for title in titles:
        table.add_column(title, justify="right")
    for row in rows:
        table.add_row(*row, style="dim" if row[0].endswith(_NOT_AVERAGED) else None)
    table.add_section()
    table.add_row(*means, style="bold")
    counted = {"image": metrics.pictures, "box": metrics.boxes, "segmentation map": metrics.maps}
    table.caption = ", ".join(count_of(number, what) for what, number in counted.items())
    return table


def _per_cent(fraction: float | None) -> str:
    return "-" if fraction is None else f"{100 * fraction:.1f}"
