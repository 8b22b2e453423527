"""Non-maximum suppression with the paper's limits (section 3.5)."""

import torch
from torch import Tensor
from torchvision.ops import nms


def per_class_nms(
    boxes: Tensor,
    scores: Tensor,
    labels: Tensor,
    iou_threshold: float = 0.45,
    pre_nms_per_class: int = 400,
    keep_per_class: int = 50,
    keep_per_image: int = 200,
) -> Tensor:
    """Best 400 a class, greedy suppression keeping 50 a class, best 200 a picture.

    Args:
        boxes: (N, 4) xyxy candidates of one picture; N may be 0.
        scores: (N,) float.
        labels: (N,) int64; boxes of different classes never suppress each other.
        iou_threshold: a box is dropped if its IoU with a better, kept box of its class exceeds it.
        pre_nms_per_class: candidates a class that take part.
        keep_per_class: survivors a class.
        keep_per_image: survivors a picture.

    Returns:
        (K,) int64 indices into `boxes`, best score first; of equal scores, the earlier candidate.
    """
    kept = [torch.empty(0, dtype=torch.int64, device=boxes.device)]
    for label in torch.unique(labels):
        candidates = (labels == label).nonzero()[:, 0]
        order = scores[candidates].argsort(descending=True, stable=True)[:pre_nms_per_class]
        candidates = candidates[order]
        kept.append(
            candidates[nms(boxes[candidates], scores[candidates], iou_threshold)[:keep_per_class]]
        )
    survivors = torch.cat(kept).sort().values
    order = scores[survivors].argsort(descending=True, stable=True)[:keep_per_image]
    return survivors[order]
