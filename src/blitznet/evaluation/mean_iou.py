"""Intersection over union of segmentation maps by Pascal VOC's protocol.

Everingham et al., "The Pascal Visual Object Classes Challenge: A Retrospective", IJCV 2015. IoU is
computed over the pixels of all images together, so confusion matrices are summed over images.
"""

import numpy as np

from blitznet.classes import IGNORE_INDEX


def pixel_confusion(seg_map: np.ndarray, true_seg_map: np.ndarray, num_classes: int) -> np.ndarray:
    """Count the pixels of one image by true and predicted class, without void pixels.

    Args:
        seg_map: (H, W) uint8 class ids, predicted.
        true_seg_map: (H, W) uint8 class ids, 255 = void.
        num_classes: C, background included.

    Returns:
        (C, C) int64, [true, predicted].
    """
    labelled = true_seg_map != IGNORE_INDEX
    true, predicted = true_seg_map[labelled].astype(np.int64), seg_map[labelled]
    assert predicted.max(initial=0) < num_classes
    pairs = np.bincount(true * num_classes + predicted, minlength=num_classes**2)
    return pairs.reshape(num_classes, num_classes)


def class_iou(confusion: np.ndarray) -> list[float | None]:
    """IoU of every class, from a sum of `pixel_confusion`.

    Returns:
        C fractions indexed by class id. None for a class without true pixels, even if predicted.
    """
    num_true, intersection = confusion.sum(axis=1), confusion.diagonal()
    union = num_true + confusion.sum(axis=0) - intersection
    return [
        float(intersection[label] / union[label]) if num_true[label] else None
        for label in range(len(confusion))
    ]
