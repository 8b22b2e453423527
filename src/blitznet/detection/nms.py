"""Non-maximum suppression within each class (section 3.5)."""

import torch
from torch import Tensor
from torchvision.ops import nms

from blitznet.detection.limits import PAPER, Limits


def per_class_nms(boxes: Tensor, scores: Tensor, labels: Tensor, limits: Limits = PAPER) -> Tensor:
    """Take the best 400 per class, keep up to 50 per class by greedy NMS, then the best 200.

    Args:
        boxes: (N, 4) xyxy candidates of one image; N may be 0.
        scores: (N,) float; `limits.score` is not applied.
        labels: (N,) int64; boxes of different classes never suppress each other.
        limits: see `Limits`.

    Returns:
        (K,) int64 indices into `boxes`, best score first; on equal scores, the earlier candidate.
    """
    by_score = scores.argsort(descending=True, stable=True)
    survivors = [by_score[:0]]
    for label in torch.unique(labels):
        candidates = by_score[labels[by_score] == label][: limits.pre_nms_per_class]
        kept = nms(boxes[candidates], scores[candidates], limits.iou)
        survivors.append(candidates[kept[: limits.keep_per_class]])
    # Restore the order of the candidates, which decides between equal scores.
    by_candidate = torch.cat(survivors).sort().values
    order = scores[by_candidate].argsort(descending=True, stable=True)
    return by_candidate[order[: limits.top]]
