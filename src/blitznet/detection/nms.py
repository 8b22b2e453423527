"""Non-maximum suppression within each class (section 3.5)."""

import torch
from torch import Tensor
from torchvision.ops import nms

from blitznet.detection.limits import (
    IOU_THRESHOLD,
    KEEP_PER_CLASS,
    KEEP_PER_IMAGE,
    PRE_NMS_PER_CLASS,
)


def per_class_nms(
    boxes: Tensor,
    scores: Tensor,
    labels: Tensor,
    iou_threshold: float = IOU_THRESHOLD,
    pre_nms_per_class: int = PRE_NMS_PER_CLASS,
    keep_per_class: int = KEEP_PER_CLASS,
    keep_per_image: int = KEEP_PER_IMAGE,
) -> Tensor:
    """Best 400 a class, greedy suppression keeping 50 a class, best 200 an image.

    Args:
        boxes: (N, 4) xyxy candidates of one image; N may be 0.
        scores: (N,) float.
        labels: (N,) int64; boxes of different classes never suppress each other.
        iou_threshold: a box is dropped if its IoU with a better, kept box of its class exceeds it.
        pre_nms_per_class: candidates a class that take part.
        keep_per_class: survivors a class.
        keep_per_image: survivors an image.

    Returns:
        (K,) int64 indices into `boxes`, best score first; of equal scores, the earlier candidate.
    """
    by_score = scores.argsort(descending=True, stable=True)
    survivors = [by_score[:0]]
    for label in labels.unique():
        candidates = by_score[labels[by_score] == label][:pre_nms_per_class]
        kept = nms(boxes[candidates], scores[candidates], iou_threshold)
        survivors.append(candidates[kept[:keep_per_class]])
    # Back in the order of the candidates, which decides between equal scores.
    by_candidate = torch.cat(survivors).sort().values
    order = scores[by_candidate].argsort(descending=True, stable=True)
    return by_candidate[order[:keep_per_image]]
