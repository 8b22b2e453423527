"""Which anchor answers for which ground-truth box (SSD, section 2.2)."""

import torch
from torch import Tensor

from blitznet.boxes import pairwise_iou
from blitznet.structures import PADDING_LABEL

NO_MATCH = -1


def match_anchors(
    anchors: Tensor, boxes: Tensor, labels: Tensor, iou_threshold: float = 0.5
) -> Tensor:
    """Give every anchor a ground-truth box, or none, for a whole batch at once.

    Each box takes its best anchor; of two boxes that want the same one, the box with the higher IoU
    gets it, of equals the first (D4). Then every other anchor takes the box that it overlaps most,
    if their IoU reaches the threshold.

    Args:
        anchors: (A, 4) xyxy, input pixels.
        boxes: (B, G, 4) xyxy, same frame; G may be 0.
        labels: (B, G) int64; rows with PADDING_LABEL are no boxes.
        iou_threshold: anchors whose best IoU reaches it are matched.

    Returns:
        (B, A) int64, index into the G boxes or NO_MATCH.
    """
    batch_size, num_boxes = labels.shape
    num_anchors = len(anchors)
    if num_boxes == 0:
        return torch.full((batch_size, num_anchors), NO_MATCH, device=anchors.device)
    iou = pairwise_iou(boxes, anchors)  # (B, G, A)
    iou = iou.masked_fill((labels == PADDING_LABEL)[:, :, None], -1)

    best_iou, best_box = iou.max(dim=1)  # per anchor
    match = best_box.masked_fill(best_iou < iou_threshold, NO_MATCH)

    top_iou, top_anchor = iou.max(dim=2)  # per box
    claims = top_iou > 0
    # Scatter has no order of its own, so a claim on an anchor that a stronger or earlier one wants
    # too is turned into a claim on nothing.
    same_anchor = top_anchor[:, :, None] == top_anchor[:, None, :]
    stronger = top_iou[:, None, :] > top_iou[:, :, None]
    earlier = (top_iou[:, None, :] == top_iou[:, :, None]) & torch.ones(
        num_boxes, num_boxes, dtype=torch.bool, device=iou.device
    ).tril(diagonal=-1)
    loses = (same_anchor & (stronger | earlier)).any(dim=2)
    target = top_anchor.masked_fill(~claims | loses, num_anchors)  # one column past the end
    match = torch.cat((match, match.new_full((batch_size, 1), NO_MATCH)), dim=1)
    index = torch.arange(num_boxes, device=iou.device).expand(batch_size, -1)
    return match.scatter(1, target, index)[:, :num_anchors]
