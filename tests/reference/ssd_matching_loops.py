"""SSD's matching (section 2.2) for one picture, one anchor and one box at a time."""

import numpy as np

from reference.iou_loops import box_iou

NO_MATCH = -1
PADDING_LABEL = 0


def match_loops(
    anchors: np.ndarray,
    boxes: np.ndarray,
    labels: np.ndarray,
    iou_threshold: float = 0.5,
    anchors_per_box: int = 1,
    least_further_iou: float = 0.3,
) -> list[int]:
    """Index of the box of every anchor, or NO_MATCH.

    Args:
        anchors: (A, 4) xyxy.
        boxes: (G, 4) xyxy of the same float type, so that both sides round alike.
        labels: (G,); rows of PADDING_LABEL are no boxes.
        iou_threshold: anchors that reach it take the box that they overlap most.
        anchors_per_box: how many anchors a box takes, and all that overlap it as much as the last.
        least_further_iou: that those besides the best must have.
    """
    real = [g for g in range(len(boxes)) if labels[g] != PADDING_LABEL]
    iou = {(g, a): box_iou(boxes[g], anchors[a]) for g in real for a in range(len(anchors))}

    match = [NO_MATCH] * len(anchors)
    for a in range(len(anchors)):
        for g in real:
            if iou[g, a] >= iou_threshold and (
                match[a] == NO_MATCH or iou[g, a] > iou[match[a], a]
            ):
                match[a] = g

    # Every box takes its best anchors, whatever they overlap more; the strongest claim first.
    claims = []
    for g in real:
        by_iou = sorted(range(len(anchors)), key=lambda a: (-iou[g, a], a))
        last = iou[g, by_iou[:anchors_per_box][-1]]
        for place, a in enumerate(by_iou):
            is_best = place == 0 and iou[g, a] > 0
            is_further = anchors_per_box > 1 and iou[g, a] >= max(last, least_further_iou)
            if is_best or is_further:
                claims.append((-iou[g, a], g, a))
    taken = set()
    for _, g, a in sorted(claims):
        if a not in taken:
            match[a] = g
            taken.add(a)
    return match
