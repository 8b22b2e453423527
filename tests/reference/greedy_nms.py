"""Greedy non-maximum suppression by the definition: one box at a time, best score first."""

from collections.abc import Sequence

from torch import Tensor

from blitznet.detection import box_coder
from blitznet.detection.limits import Limits
from reference.iou_loops import box_iou


def greedy_nms(
    boxes: Sequence[Sequence[float]], scores: Sequence[float], iou_threshold: float
) -> list[int]:
    """Indices of the survivors, best first; on equal scores, the earlier box first."""
    kept: list[int] = []
    for index in sorted(range(len(boxes)), key=lambda i: (-scores[i], i)):
        if all(box_iou(boxes[index], boxes[better]) <= iou_threshold for better in kept):
            kept.append(index)
    return kept


def greedy_nms_with_limits(
    boxes: Sequence[Sequence[float]],
    scores: Sequence[float],
    labels: Sequence[int],
    limits: Limits,
) -> list[int]:
    """Section 3.5: the best 400 per class, up to 50 of these after NMS, then the best 200."""
    survivors: list[int] = []
    for label in set(labels):
        candidates = [i for i in range(len(boxes)) if labels[i] == label]
        candidates.sort(key=lambda i: (-scores[i], i))
        candidates = candidates[: limits.pre_nms_per_class]
        kept = greedy_nms(
            [boxes[i] for i in candidates], [scores[i] for i in candidates], limits.iou
        )
        survivors += [candidates[i] for i in kept[: limits.keep_per_class]]
    survivors.sort(key=lambda i: (-scores[i], i))
    return survivors[: limits.top]


def decode_with_loops(
    class_logits: Tensor, box_deltas: Tensor, anchors: Tensor, size: int, limits: Limits
) -> tuple[Tensor, Tensor, Tensor]:
    """Boxes, labels and scores of one image, from (A, C) logits and (A, 4) deltas."""
    scores = class_logits.float().softmax(dim=-1)[:, 1:]
    boxes = box_coder.decode(box_deltas.float(), anchors).clamp(0, size)
    has_area = (boxes[:, 2:] > boxes[:, :2]).all(dim=1, keepdim=True)
    anchor, column = ((scores >= limits.score) & has_area).nonzero(as_tuple=True)
    candidates = scores[anchor, column]
    kept = greedy_nms_with_limits(
        boxes[anchor].tolist(), candidates.tolist(), column.tolist(), limits
    )
    return boxes[anchor[kept]], column[kept] + 1, candidates[kept]
