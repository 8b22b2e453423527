"""Suppression for a whole batch in tensors of fixed size, as exported files need it.

The same as `blitznet.detection.nms.per_class_nms`, ties included, padded to `Limits.top` rows.
"""

import torch
from torch import Tensor

from blitznet.boxes import pairwise_iou
from blitznet.export.limits import Limits

NO_CANDIDATE = -1.0


def select_objects(
    boxes: Tensor, scores: Tensor, limits: Limits
) -> tuple[Tensor, Tensor, Tensor, Tensor]:
    """The objects of every picture of a batch.

    Args:
        boxes: (B, A, 4) xyxy, clipped to the picture; those without area are no candidates.
        scores: (B, A, F) of the F classes without background.
        limits: see there.

    Returns:
        boxes (B, T, 4), scores (B, T), labels (B, T) int64 from 1 on, count (B,) int64, with T =
        `limits.top`: best score first; of equal scores, the earlier anchor, then the lower class.
        Rows from `count` on are 0.
    """
    num_anchors, num_classes = scores.shape[1:]
    pre_nms = min(limits.pre_nms_per_class, num_anchors)
    has_area = (boxes[:, :, 2:] > boxes[:, :, :2]).all(dim=2, keepdim=True)
    ranked = torch.where((scores >= limits.score) & has_area, scores, NO_CANDIDATE)

    # Most anchors are nobody's candidate. Those of the first rows stay, so that enough are left.
    chosen = (ranked > 0).any(dim=2).any(dim=0) | (torch.arange(num_anchors) < pre_nms).to(
        boxes.device
    )
    anchors = chosen.nonzero()[:, 0]
    ranked, boxes = ranked[:, anchors].transpose(1, 2), boxes[:, anchors]
    best, index = ranked.sort(dim=2, descending=True, stable=True)
    best, index = best[:, :, :pre_nms].flatten(0, 1), index[:, :, :pre_nms].flatten(1)
    candidates = _rows_at(boxes, index).reshape(-1, pre_nms, 4)
    kept = _suppress(candidates, best > 0, limits.iou, limits.keep_per_class)

    survivors = torch.where(kept, best, NO_CANDIDATE).reshape(index.shape)
    class_index = torch.arange(num_classes, device=boxes.device).repeat_interleave(pre_nms)
    by_anchor = (index * num_classes + class_index).argsort(dim=1)
    order = survivors.gather(1, by_anchor).sort(dim=1, descending=True, stable=True).indices
    order = by_anchor.gather(1, order[:, : limits.top])

    scores = survivors.gather(1, order)
    is_object = scores > 0
    labels = class_index[order] + 1
    boxes = _rows_at(boxes, index.gather(1, order)) * is_object.unsqueeze(2)
    missing = limits.top - order.shape[1]  # few classes and few anchors
    return (
        torch.nn.functional.pad(boxes, (0, 0, 0, missing)),
        torch.nn.functional.pad(scores * is_object, (0, missing)),
        torch.nn.functional.pad(labels * is_object, (0, missing)),
        is_object.sum(dim=1),
    )


def _rows_at(boxes: Tensor, index: Tensor) -> Tensor:
    """(B, A, 4) and (B, N) to (B, N, 4)."""
    return boxes.gather(1, index.unsqueeze(2).expand(-1, -1, 4))


def _suppress(boxes: Tensor, is_candidate: Tensor, iou: float, keep: int) -> Tensor:
    """Greedy suppression in many rows at once.

    Args:
        boxes: (R, N, 4) xyxy, best first.
        is_candidate: (R, N) bool.
        iou: see `Limits`.
        keep: boxes a row.

    Returns:
        (R, N) bool.
    """
    is_open = is_candidate
    kept = torch.zeros_like(is_candidate)
    for _ in range(keep):
        first = is_open.int().argmax(dim=1, keepdim=True)
        is_kept = is_open.gather(1, first)
        kept = kept.scatter(1, first, kept.gather(1, first) | is_kept)
        overlap = pairwise_iou(_rows_at(boxes, first), boxes).squeeze(1)
        is_open = (is_open & (overlap <= iou)).scatter(1, first, torch.zeros_like(is_kept))
    return kept
