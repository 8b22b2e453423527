"""Label statistics of a split."""

from collections.abc import Sequence
from typing import Any

import numpy as np

from blitznet.classes import IGNORE_INDEX
from blitznet.data.check.image_check import ImageRecord
from blitznet.detection.matcher import MATCHING_IOU


class SplitStatistics:
    """Counts over one split.

    Args:
        names: C class names, background first.
        records: records of all images, including those with errors.

    Attributes:
        names: same as the argument.
        counts: numbers of images, of images with boxes, maps or both, and of ignored boxes; by
            their keys in `to_dict`.
        boxes: (C,) int64 number of boxes per class, without ignored ones.
        one_anchor: (C,) int64 number of these that match one anchor only.
        pixels: (256,) int64 number of pixels per map value.
        shapes: (N, 2) float32 width and height of these boxes as fractions of their image's.
        best_iou: (N,) float32 IoU with the best anchor; empty without a model.
    """

    def __init__(self, names: Sequence[str], records: Sequence[ImageRecord]):
        self.names = tuple(names)
        self.counts = {
            "pictures": len(records),
            "pictures_with_boxes": sum(r.has_boxes for r in records),
            "pictures_with_maps": sum(r.pixels is not None for r in records),
            "pictures_with_both": sum(r.has_boxes and r.pixels is not None for r in records),
            "boxes_ignored": sum(r.num_ignored for r in records),
        }
        everything = [ImageRecord("", 0, 0), *records]  # np.concatenate needs at least one array
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
        """Classes without any box or pixel."""
        shown = self.boxes + self.pixels[: len(self.names)]
        return [name for name, count in zip(self.names[1:], shown[1:], strict=True) if not count]

    def pixel_shares(self) -> dict[str, float] | None:
        """Share of the labelled pixels per class; None without maps."""
        labelled = int(self.pixels[:IGNORE_INDEX].sum())
        if not labelled:
            return None
        return dict(zip(self.names, (self.pixels / labelled).tolist(), strict=False))

    def to_dict(self) -> dict[str, Any]:
        """The statistics as JSON values."""
        names, total = self.names[1:], int(self.pixels.sum())
        return {
            **self.counts,
            "boxes": dict(zip(names, self.boxes[1:].tolist(), strict=True)),
            "boxes_with_one_anchor": dict(zip(names, self.one_anchor[1:].tolist(), strict=True)),
            "pixel_shares": self.pixel_shares(),
            "void_share": int(self.pixels[IGNORE_INDEX]) / total if total else None,
        }
