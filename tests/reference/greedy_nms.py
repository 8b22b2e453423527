"""Greedy non-maximum suppression by the definition: one box at a time, best score first."""

from collections.abc import Sequence

from reference.iou_loops import box_iou


def greedy_nms(
    boxes: Sequence[Sequence[float]], scores: Sequence[float], iou_threshold: float
) -> list[int]:
    """Indices of the survivors, best first; of equal scores, the earlier box first."""
    kept: list[int] = []
    for index in sorted(range(len(boxes)), key=lambda i: (-scores[i], i)):
        if all(box_iou(boxes[index], boxes[better]) <= iou_threshold for better in kept):
            kept.append(index)
    return kept


def greedy_nms_with_limits(
    boxes: Sequence[Sequence[float]],
    scores: Sequence[float],
    labels: Sequence[int],
    iou_threshold: float = 0.45,
    pre_nms_per_class: int = 400,
    keep_per_class: int = 50,
    keep_per_image: int = 200,
) -> list[int]:
    """Section 3.5: the best 400 a class, 50 of them after suppression, the best 200 in all."""
    survivors: list[int] = []
    for label in set(labels):
        candidates = [i for i in range(len(boxes)) if labels[i] == label]
        candidates.sort(key=lambda i: (-scores[i], i))
        candidates = candidates[:pre_nms_per_class]
        kept = greedy_nms(
            [boxes[i] for i in candidates], [scores[i] for i in candidates], iou_threshold
        )
        survivors += [candidates[i] for i in kept[:keep_per_class]]
    survivors.sort(key=lambda i: (-scores[i], i))
    return survivors[:keep_per_image]
