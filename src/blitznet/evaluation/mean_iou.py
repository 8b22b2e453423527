"""Intersection over union of segmentation maps, as Pascal VOC measures it.

Everingham et al., "The Pascal Visual Object Classes Challenge: A Retrospective", IJCV 2015.
"""

import numpy as np

from blitznet.classes import IGNORE_INDEX


class MeanIoU:
    """IoU of every class over the pixels of all images together; void pixels are left out."""

    def __init__(self, num_classes: int) -> None:
        """`num_classes` includes background."""
        self.num_classes = num_classes
        self.confusion = np.zeros((num_classes, num_classes), dtype=np.int64)  # [true, predicted]

    def update(self, seg_map: np.ndarray, true_seg_map: np.ndarray) -> None:
        """Add one image.

        Args:
            seg_map: (H, W) uint8 class ids, predicted.
            true_seg_map: (H, W) uint8 class ids, 255 = void.
        """
        if seg_map.shape != true_seg_map.shape:
            raise ValueError(
                f"the predicted map is {seg_map.shape}, the true one {true_seg_map.shape}; "
                "resize the prediction's logits to the image first"
            )
        labelled = true_seg_map != IGNORE_INDEX
        true, predicted = true_seg_map[labelled].astype(np.int64), seg_map[labelled]
        largest = max(true.max(initial=0), predicted.max(initial=0))
        if largest >= self.num_classes:
            raise ValueError(
                f"a segmentation map holds class {largest}, but there are only {self.num_classes} "
                "with background; make maps and network share one list of classes"
            )
        pairs = np.bincount(true * self.num_classes + predicted, minlength=self.num_classes**2)
        self.confusion += pairs.reshape(self.confusion.shape)

    def compute(self) -> list[float | None]:
        """IoU of every class so far.

        Returns:
            C fractions indexed by class id. None for a class without true pixels, predicted or not.
        """
        intersection = self.confusion.diagonal()
        num_true = self.confusion.sum(axis=1)
        union = num_true + self.confusion.sum(axis=0) - intersection
        return [
            float(intersection[label] / union[label]) if num_true[label] else None
            for label in range(self.num_classes)
        ]
