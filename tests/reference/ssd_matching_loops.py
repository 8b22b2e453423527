"""SSD's matching (section 2.2) for one image, one anchor and one box at a time."""

import numpy as np

from reference.iou_loops import box_iou

NO_MATCH = -1
PADDING_LABEL = 0


def match_loops(
    anchors: np.ndarray,
    boxes: np.ndarray,
    labels: np.ndarray,
    iou_threshold: float = 0.5,
) -> list[int]:
    """Index of the box of every anchor, or NO_MATCH.

    Args:
        anchors: (A, 4) xyxy.
        boxes: (G, 4) xyxy of the same float type, so that both sides round alike.
        labels: (G,); rows of PADDING_LABEL are no boxes.
        iou_threshold: anchors that reach it take the box that they overlap most.
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

    # Every box takes its best anchor, whatever that overlaps more; the strongest claim first.
    claims = []
    for g in real:
        best = max(range(len(anchors)), key=lambda a: iou[g, a])
        if iou[g, best] > 0:
            claims.append((-iou[g, best], g, best))
    taken = set()
    for _, g, a in sorted(claims):
        if a not in taken:
            match[a] = g
            taken.add(a)
    return match
