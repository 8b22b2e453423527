"""Boxes and scores of every kind that suppression may meet, and what it must keep of them."""

import torch
from torch import Tensor

from blitznet.detection.nms import per_class_nms
from blitznet.detections import Detections
from blitznet.export.limits import Limits

CASES = ("distinct", "ties", "all equal", "everything", "nothing", "one picture empty", "no area")


def draw_case(
    case: str, rng: torch.Generator, images: int, anchors: int, classes: int
) -> tuple[Tensor, Tensor]:
    """(B, A, 4) boxes in crowds that overlap, in 0..64, and (B, A, F) scores."""
    centre = torch.rand(images, 12, 2, generator=rng)[:, torch.arange(anchors) % 12] * 64
    centre = centre + torch.randn(images, anchors, 2, generator=rng) * 3
    half = 4 + 12 * torch.rand(images, anchors, 2, generator=rng)
    boxes = torch.cat((centre - half, centre + half), dim=2).clamp(0, 64)
    scores = torch.rand(images, anchors, classes, generator=rng) ** 8
    if case == "ties":
        scores = (scores * 16).round() / 16
        boxes = boxes.round()
    elif case == "all equal":
        scores = torch.full_like(scores, 0.25)
    elif case == "everything":
        scores = 0.01 + 0.99 * torch.rand(scores.shape, generator=rng)
    elif case == "nothing":
        scores = scores * 0.009
    elif case == "one picture empty":
        scores[0] = 0
    elif case == "no area":
        boxes[:, ::2, 2] = boxes[:, ::2, 0]
        boxes[:, 1::4] = boxes[:, :1]
    return boxes, scores


def greedy_objects(boxes: Tensor, scores: Tensor, limits: Limits) -> Detections:
    """Of one picture: (A, 4) boxes and (A, F) scores; earlier anchors first among equals."""
    has_area = (boxes[:, 2:] > boxes[:, :2]).all(dim=1, keepdim=True)
    anchor, column = ((scores >= limits.score) & has_area).nonzero(as_tuple=True)
    candidates = scores[anchor, column]
    if not len(candidates):
        return Detections(boxes[:0].numpy(), column.numpy(), candidates.numpy())
    keep = per_class_nms(
        boxes[anchor],
        candidates,
        column,
        limits.iou,
        limits.pre_nms_per_class,
        limits.keep_per_class,
        limits.top,
    )
    best = boxes[anchor[keep]], column[keep] + 1, candidates[keep]
    return Detections(*(tensor.numpy() for tensor in best))
