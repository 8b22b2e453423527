"""The detection loss: SSD's classification and box regression (SSD, equations 1 to 3)."""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn import functional as F

from blitznet.detection import box_coder
from blitznet.detection.matcher import NO_MATCH, match_anchors
from blitznet.losses.distillation import soften
from blitznet.losses.partial_labels import merge_unknown_classes
from blitznet.structures import IGNORE_LABEL

NEGATIVE_RATIO = 3  # SSD, section 2.2: hard negative mining


class MultiboxTargets(NamedTuple):
    """Training targets of every anchor.

    Attributes:
        labels: (B, A) int64 class ids, 0 where no object is matched.
        box_deltas: (B, A, 4) targets, valid only where `positive`.
        positive: (B, A) bool, matched to an object.
        candidate: (B, A) bool, unmatched in an image with labelled boxes: may become a negative.
        match: (B, A) int64, index of the matched box, or NO_MATCH.
    """

    labels: Tensor
    box_deltas: Tensor
    positive: Tensor
    candidate: Tensor
    match: Tensor


def multibox_targets(
    anchors: Tensor, boxes: Tensor, labels: Tensor, has_boxes: Tensor
) -> MultiboxTargets:
    """Match the boxes of a batch and arrange their labels by anchor.

    Args:
        anchors: (A, 4) xyxy, input pixels.
        boxes: (B, G, 4) xyxy, same frame, padded.
        labels: (B, G) int64; IGNORE_LABEL = anchors matched to this box are neither positive nor
            negative (D5).
        has_boxes: (B,) bool; an image without labelled boxes has no positive and no candidate.
    """
    match = match_anchors(anchors, boxes, labels)
    unmatched = match == NO_MATCH
    if labels.shape[1] == 0:
        anchor_labels = torch.zeros_like(match)
        matched_boxes = anchors.expand(len(match), -1, -1)
    else:
        index = match.clamp(min=0)
        anchor_labels = labels.gather(1, index).masked_fill(unmatched, 0)
        matched_boxes = boxes.gather(1, index[..., None].expand(-1, -1, 4))
    positive = (anchor_labels > 0) & has_boxes[:, None]
    candidate = unmatched & has_boxes[:, None]
    # Padding would encode to infinities, which turn gradients into NaN even where masked out.
    matched_boxes = torch.where(positive[..., None], matched_boxes, anchors)
    anchor_labels = anchor_labels.masked_fill(anchor_labels == IGNORE_LABEL, 0)
    return MultiboxTargets(
        anchor_labels, box_coder.encode(matched_boxes, anchors), positive, candidate, match
    )


def mine_hard_negatives(
    class_loss: Tensor, positive: Tensor, candidate: Tensor, min_negatives: int = 0
) -> Tensor:
    """Choose the candidates with the highest loss, three per positive of the same image.

    By default, an image without positives contributes no negatives (D7).

    Args:
        class_loss: (B, A) cross-entropy against background, finite.
        positive: (B, A) bool.
        candidate: (B, A) bool.
        min_negatives: minimum number per image.

    Returns:
        (B, A) bool; on equal losses, the earlier anchor is chosen.
    """
    num_negative = (NEGATIVE_RATIO * positive.sum(dim=1, keepdim=True)).clamp(min=min_negatives)
    ranked = class_loss.masked_fill(~candidate, -torch.inf)
    rank = ranked.argsort(dim=1, descending=True, stable=True).argsort(dim=1)
    return candidate & (rank < num_negative)


def multibox_loss(
    class_logits: Tensor,
    box_deltas: Tensor,
    targets: MultiboxTargets,
    known_classes: Tensor | None = None,
    soft_labels: Tensor | None = None,
    min_negatives: int = 0,
) -> tuple[Tensor, Tensor, Tensor]:
    """Sums of the classification and box losses, and the count that normalises both.

    Args:
        class_logits: (B, A, C).
        box_deltas: (B, A, 4).
        targets: targets of the same batch.
        known_classes: (B, C) bool, see `partial_labels`; None = all.
        soft_labels: (B, G, C) a teacher's probabilities for each object, see `soften`.
        min_negatives: minimum number of hard negatives per image.

    Returns:
        Scalars: cross-entropy over positives and hard negatives, smooth L1 over positives, and the
        number of positives. All are sums, so that several processes can share one normaliser.
    """
    own_logits = class_logits
    if known_classes is not None:
        merged = merge_unknown_classes(class_logits.mT, targets.labels == 0, known_classes)
        class_logits = merged.mT
    class_loss = F.cross_entropy(
        class_logits.flatten(0, 1), targets.labels.flatten(), reduction="none"
    ).view_as(targets.labels)
    negative = mine_hard_negatives(
        class_loss.detach(), targets.positive, targets.candidate, min_negatives=min_negatives
    )
    kept = targets.positive | negative
    if soft_labels is not None and soft_labels.shape[1] > 0:
        index = targets.match.clamp(min=0)[..., None].expand(-1, -1, soft_labels.shape[2])
        of_anchors = soft_labels.gather(1, index) * targets.positive[..., None]
        class_loss = soften(class_loss, own_logits, of_anchors, class_dim=2)
    box_loss = F.smooth_l1_loss(box_deltas, targets.box_deltas, reduction="none").sum(dim=-1)
    return (
        torch.where(kept, class_loss, 0).sum(),
        torch.where(targets.positive, box_loss, 0).sum(),
        targets.positive.sum(),
    )
