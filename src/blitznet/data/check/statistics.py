"""What the images of a split show, counted."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from blitznet.classes import IGNORE_INDEX
from blitznet.data.check.picture_check import MATCHING_IOU, PictureRecord


class SplitStatistics:
    """Counts over one split, record by record.

    Attributes:
        names: class names, background first; C in all.
        num_pictures: all images, those that cannot be used included.
        num_with_boxes: images whose boxes are labelled.
        num_with_maps: images whose pixels are labelled.
        num_with_both: both.
        num_ignored: boxes that are ignored.
        boxes: (C,) int64 boxes that count, by class.
        one_anchor: (C,) int64 of these, those that no anchor matches.
        pixels: (256,) int64 by value of the maps.
        shapes: arrays (N, 2) float32, width and height of the boxes that count as fractions of
            their images.
        best_iou: arrays (N,) float32, of each of these boxes with its best anchor.
    """

    def __init__(self, names: Sequence[str]):
        self.names = tuple(names)
        self.num_pictures = self.num_with_boxes = self.num_with_maps = self.num_with_both = 0
        self.num_ignored = 0
        self.boxes = np.zeros(len(names), np.int64)
        self.one_anchor = np.zeros(len(names), np.int64)
        self.pixels = np.zeros(256, np.int64)
        self.shapes: list[np.ndarray] = []
        self.best_iou: list[np.ndarray] = []

    def add(self, record: PictureRecord) -> None:
        """One more image."""
        has_map = record.pixels is not None
        self.num_pictures += 1
        self.num_with_boxes += record.has_boxes
        self.num_with_maps += has_map
        self.num_with_both += record.has_boxes and has_map
        self.num_ignored += record.num_ignored
        self.boxes += np.bincount(record.labels, minlength=len(self.names))
        if len(record.best_iou):
            lonely = record.labels[record.best_iou < MATCHING_IOU]
            self.one_anchor += np.bincount(lonely, minlength=len(self.names))
        for value, count in (record.pixels or {}).items():
            self.pixels[value] += count
        self.shapes.append(record.shapes)
        self.best_iou.append(record.best_iou)

    def absent_classes(self) -> list[str]:
        """Classes that no box and no pixel shows."""
        shown = self.boxes + self.pixels[: len(self.names)]
        return [name for name, count in zip(self.names[1:], shown[1:], strict=True) if not count]

    def pixel_shares(self) -> dict[str, float] | None:
        """Shares of the labelled pixels by class; None without maps."""
        labelled = int(self.pixels[:IGNORE_INDEX].sum())
        if not labelled:
            return None
        counts = self.pixels[: len(self.names)].tolist()
        return {name: count / labelled for name, count in zip(self.names, counts, strict=True)}

    def to_dict(self) -> dict[str, Any]:
        """For programs."""
        names = self.names[1:]
        total = int(self.pixels.sum())
        return {
            "pictures": self.num_pictures,
            "pictures_with_boxes": self.num_with_boxes,
            "pictures_with_maps": self.num_with_maps,
            "pictures_with_both": self.num_with_both,
            "boxes": dict(zip(names, self.boxes[1:].tolist(), strict=True)),
            "boxes_ignored": self.num_ignored,
            "boxes_with_one_anchor": dict(zip(names, self.one_anchor[1:].tolist(), strict=True)),
            "pixel_shares": self.pixel_shares(),
            "void_share": int(self.pixels[IGNORE_INDEX]) / total if total else None,
        }
