"""What the images of a split show, counted."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from blitznet.classes import IGNORE_INDEX
from blitznet.data.check.picture_check import MATCHING_IOU, PictureRecord


class SplitStatistics:
    """Counts over one split.

    Args:
        names: class names, background first; C in all.
        records: of all images, those that cannot be used included.

    Attributes:
        names: as given.
        num_pictures: images.
        num_with_boxes: images whose boxes are labelled.
        num_with_maps: images whose pixels are labelled.
        num_with_both: both.
        num_ignored: boxes that are ignored.
        boxes: (C,) int64 boxes that count, by class.
        one_anchor: (C,) int64 of these, those that no anchor matches.
        pixels: (256,) int64 by value of the maps.
        shapes: (N, 2) float32, width and height of the boxes that count as fractions of their
            images.
        best_iou: (N,) float32, of each of these boxes with its best anchor; empty without anchors.
    """

    def __init__(self, names: Sequence[str], records: Sequence[PictureRecord]):
        self.names = tuple(names)
        self.num_pictures = len(records)
        self.num_with_boxes = sum(record.has_boxes for record in records)
        self.num_with_maps = sum(record.pixels is not None for record in records)
        self.num_with_both = sum(r.has_boxes and r.pixels is not None for r in records)
        self.num_ignored = sum(record.num_ignored for record in records)
        nothing = PictureRecord("", 0, 0)  # np.concatenate needs one
        everything = [nothing, *records]
        labels = np.concatenate([record.labels for record in everything])
        self.shapes = np.concatenate([record.shapes for record in everything])
        self.best_iou = np.concatenate([record.best_iou for record in everything])
        self.boxes = np.bincount(labels, minlength=len(names))
        is_lonely = self.best_iou < MATCHING_IOU
        self.one_anchor = np.bincount(labels[: len(is_lonely)][is_lonely], minlength=len(names))
        self.pixels = np.zeros(256, np.int64)
        for record in records:
            for value, count in (record.pixels or {}).items():
                self.pixels[value] += count

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
