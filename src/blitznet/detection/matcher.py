"""Matching of anchors to ground-truth boxes (SSD, section 2.2)."""

import torch
from torch import Tensor

from blitznet.detection.boxes import pairwise_iou
from blitznet.structures import PADDING_LABEL

MATCHING_IOU = 0.5
NO_MATCH = -1


def match_anchors(anchors: Tensor, boxes: Tensor, labels: Tensor) -> Tensor:
    """Match every anchor to a ground-truth box or to none, for a whole batch at once.

    Each box gets its best anchor; if several boxes want the same one, the box with the highest IoU
    gets it, or the first on a tie (D4). Every other anchor is matched to the box that it overlaps
    most, if their IoU is at least `MATCHING_IOU`.

    Args:
        anchors: (A, 4) xyxy, input pixels.
        boxes: (B, G, 4) xyxy, same frame; G may be 0.
        labels: (B, G) int64; PADDING_LABEL marks rows without a box.

    Returns:
        (B, A) int64, index into the G boxes, or NO_MATCH.
    """
    batch_size, num_boxes = labels.shape
    if num_boxes == 0:
        return torch.full((batch_size, len(anchors)), NO_MATCH, device=anchors.device)
    iou = pairwise_iou(boxes, anchors)  # (B, G, A)
    iou = iou.masked_fill((labels == PADDING_LABEL)[:, :, None], -1)

    best_iou, best_box = iou.max(dim=1)  # per anchor
    match = best_box.masked_fill(best_iou < MATCHING_IOU, NO_MATCH)

    top_iou, top_anchor = iou.max(dim=2, keepdim=True)  # per box
    wanted = torch.zeros_like(iou, dtype=torch.bool).scatter(2, top_anchor, top_iou > 0)
    wanted_iou, taker = iou.masked_fill(~wanted, -1).max(dim=1)
    return torch.where(wanted_iou > 0, taker, match)
