"""Greedy non-maximum suppression of many classes and pictures at once (section 3.5)."""

import numpy as np
import torch
from torch import Tensor

from blitznet.detection.limits import (
    IOU_THRESHOLD,
    KEEP_PER_CLASS,
    KEEP_PER_IMAGE,
    PRE_NMS_PER_CLASS,
)
from blitznet.late_compiler import compiler_when_called

with compiler_when_called():
    import torchvision  # noqa: F401 - defines the kernel

# Whether a box survives depends on better ones alone. So this many of a class are looked at first,
# and more only if fewer than 50 survived: a look costs survivors times boxes.
_LOOKS = (64, 160)

# The kernel without the checks and the bookkeeping of torchvision's Python function, which for few
# boxes cost more than it does.
_nms = torch.ops.torchvision.nms


def suppress(
    boxes: Tensor,
    scores: Tensor,
    sizes: np.ndarray,
    iou_threshold: float = IOU_THRESHOLD,
    keep: int = KEEP_PER_CLASS,
) -> np.ndarray:
    """Suppress weaker boxes within each of many groups.

    Args:
        boxes: (N, 4) float32 xyxy on the CPU, group after group, best score first.
        scores: (N,) float32, falling within a group.
        sizes: (G,) int64 boxes of every group; their sum is N.
        iou_threshold: a box is dropped if its IoU with a better, kept one of its group exceeds it.
        keep: survivors of a group, the best ones.

    Returns:
        (K,) int64 positions of the survivors, ascending.
    """
    survivors = [np.zeros(0, dtype=np.int64)]
    start = 0
    parts = sizes.tolist()
    for group, group_scores in zip(
        boxes.split_with_sizes(parts), scores.split_with_sizes(parts), strict=True
    ):
        survivors.append(_survivors(group, group_scores, iou_threshold, keep) + start)
        start += len(group)
    return np.concatenate(survivors)


def per_class_nms(
    boxes: Tensor,
    scores: Tensor,
    labels: Tensor,
    iou_threshold: float = IOU_THRESHOLD,
    pre_nms_per_class: int = PRE_NMS_PER_CLASS,
    keep_per_class: int = KEEP_PER_CLASS,
    keep_per_image: int = KEEP_PER_IMAGE,
) -> Tensor:
    """Best 400 a class, greedy suppression keeping 50 a class, best 200 a picture.

    Args:
        boxes: (N, 4) xyxy candidates of one picture, on the CPU; N may be 0.
        scores: (N,) float.
        labels: (N,) int64; boxes of different classes never suppress each other.
        iou_threshold: a box is dropped if its IoU with a better, kept box of its class exceeds it.
        pre_nms_per_class: candidates a class that take part.
        keep_per_class: survivors a class.
        keep_per_image: survivors a picture.

    Returns:
        (K,) int64 indices into `boxes`, best score first; of equal scores, the earlier candidate.
    """
    order = scores.argsort(descending=True, stable=True)
    order = order[labels[order].argsort(stable=True)]
    _, sizes = np.unique(labels.numpy(), return_counts=True)
    groups = order.split_with_sizes(sizes.tolist())
    order = torch.cat([order[:0], *(group[:pre_nms_per_class] for group in groups)])
    sizes = sizes.clip(max=pre_nms_per_class)
    kept = suppress(boxes[order], scores[order], sizes, iou_threshold, keep_per_class)
    survivors = order[torch.from_numpy(kept)].sort().values
    best = scores[survivors].argsort(descending=True, stable=True)[:keep_per_image]
    return survivors[best]


def _survivors(boxes: Tensor, scores: Tensor, iou_threshold: float, keep: int) -> np.ndarray:
    """Of one group, best first: (K,) int64 positions, ascending."""
    count = len(boxes)
    if count == 1:
        return np.zeros(1, dtype=np.int64)
    for look in _LOOKS:
        if keep < look < count:
            kept: np.ndarray = _nms(boxes[:look], scores[:look], iou_threshold).numpy()
            if len(kept) >= keep:
                return kept[:keep]
    kept = _nms(boxes, scores, iou_threshold).numpy()
    return kept[:keep]
