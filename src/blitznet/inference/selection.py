"""Filter predictions by class, score and number."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TypedDict

import numpy as np

from blitznet.classes import BACKGROUND
from blitznet.detections import Detections
from blitznet.errors import InputError, require_numbers
from blitznet.inference.engines.engine import EngineOutput, require_in_file
from blitznet.inference.seg_map import classify_pixels
from blitznet.model_files import CheckpointInfo, ExportInfo

DEFAULT_SCORE = 0.5

_MAX_NAMED = 30


@dataclass(frozen=True)
class Selection:
    """Which predictions to show.

    Attributes:
        score: minimum score of an object, 0..1.
        classes: names of the classes to show; pixels of others become background. None = all.
        iou: NMS threshold, the maximum IoU of two objects of a class; None = the threshold that
            the network was exported with.
        max_detections: maximum number of objects, the best ones; None = all.

    Raises:
        InputError: if a value is out of range.
    """

    score: float = DEFAULT_SCORE
    classes: Sequence[str] | None = None
    iou: float | None = None
    max_detections: int | None = None

    def __post_init__(self) -> None:
        require_numbers(0, 1, score=self.score, iou=self.iou)
        require_numbers(1, max_detections=self.max_detections)
        if isinstance(self.classes, str):
            raise InputError(f"classes must be a list of names, got the text {self.classes!r}")
        if self.classes is not None and len(self.classes) == 0:
            raise InputError("classes names no class; leave it out to show all")


class Wanted(TypedDict, total=False):
    """Fields of a `Selection` except the score, for functions that pass them on."""

    classes: Sequence[str] | None
    iou: float | None
    max_detections: int | None


class Selector:
    """Applies a selection to the output of a network.

    Args:
        info: metadata of the network; classes without labels in its training data are left out.
        selection: which predictions to show.

    Raises:
        InputError: if the network lacks a class, or an exported file lacks objects of that score or
            IoU.
    """

    def __init__(self, info: CheckpointInfo, selection: Selection) -> None:
        if isinstance(info, ExportInfo) and info.model.detect:
            require_in_file(info, selection.score, selection.iou)
        self.selection = selection
        self._info = info
        ids = range(len(info.names))
        wanted = set(ids[1:])
        if selection.classes is not None:
            wanted = {find_class(name, info.names) for name in selection.classes}
        learned = info.names if info.supervised_boxes is None else info.supervised_boxes
        self._boxes = np.array([one in wanted and info.names[one] in learned for one in ids])
        self._channels: list[int] | None = None
        if info.supervised_masks is not None:
            learned_masks = [one for one in ids[1:] if info.names[one] in info.supervised_masks]
            self._channels = [BACKGROUND, *learned_masks]
        shown = self._channels or ids
        pixels = [class_id if class_id in wanted else BACKGROUND for class_id in shown]
        self._pixels = None if pixels == [*range(len(pixels))] else np.array(pixels, np.uint8)

    def apply(
        self, output: EngineOutput, index: int, width: int, height: int
    ) -> tuple[Detections | None, np.ndarray | None]:
        """Filter the output for image `index`, and scale it to the image's width and height.

        Returns:
            Objects in pixels of the image, best first, and (H, W) uint8 class ids; None for a head
            that is missing or had no labels in training.
        """
        detections = seg_map = None
        if output.detections is not None and self._info.supervised_boxes != []:
            boxes, labels, scores = self.detections(output.detections[index])
            side = self._info.model.image_size
            scale = np.array((width / side, height / side) * 2, np.float32)
            detections = Detections(boxes * scale, labels, scores)
        if output.seg_logits is not None and self._info.supervised_masks != []:
            logits = output.seg_logits[index]
            if self._channels is not None:  # unlabelled classes cannot win
                logits = logits[self._channels]
            seg_map = classify_pixels(logits, width, height)
            seg_map = seg_map if self._pixels is None else self._pixels[seg_map]
        return detections, seg_map

    def detections(self, found: Detections) -> Detections:
        """Filter objects by class, IoU and number; best first."""
        kept = np.flatnonzero(self._boxes[found.labels])
        if self.selection.iou is not None:
            kept = kept[_suppress(found.boxes[kept], found.labels[kept], self.selection.iou)]
        kept = kept[: self.selection.max_detections]
        return found if len(kept) == len(found.boxes) else Detections(*(one[kept] for one in found))


def find_class(name: str, names: Sequence[str]) -> int:
    """Find the id of a class, from 1 on.

    Raises:
        InputError: if there is no class of that name.
    """
    if name in names[1:]:
        return list(names).index(name, 1)
    known = ", ".join(names[1 : _MAX_NAMED + 1]) + (", ..." if len(names) > _MAX_NAMED + 1 else "")
    raise InputError(f"no class is called {name!r}; this network has {known}")


def _suppress(boxes: np.ndarray, labels: np.ndarray, iou: float) -> list[int]:
    """Indices of the boxes that remain after NMS per class; boxes are sorted, best first."""
    areas = (boxes[:, 2] - boxes[:, 0]) * (boxes[:, 3] - boxes[:, 1])
    kept: list[int] = []
    for row, box in enumerate(boxes):
        others = [other for other in kept if labels[other] == labels[row]]
        low, high = np.maximum(box[:2], boxes[others, :2]), np.minimum(box[2:], boxes[others, 2:])
        shared = (high - low).clip(0).prod(axis=1)
        if not (shared > iou * (areas[row] + areas[others] - shared)).any():
            kept.append(row)
    return kept
