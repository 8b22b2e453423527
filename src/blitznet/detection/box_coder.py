"""Encode boxes as `box_deltas` relative to anchors, and decode them (SSD, equation 2)."""

import math

import torch
from torch import Tensor
from torchvision.ops import box_convert

# As in torchvision and detectron2; the inverse of SSD's "variances" 0.1, 0.1, 0.2, 0.2.
WEIGHTS = (10.0, 10.0, 5.0, 5.0)
# Python floats, because copying a tensor to the GPU would synchronise with it.
_CENTRE_WEIGHT, _, _SIZE_WEIGHT, _ = WEIGHTS

# Untrained networks predict arbitrary sizes; a box 1000 times its anchor's size is still finite.
MAX_LOG_SIZE = math.log(1000.0)


def encode(boxes: Tensor, anchors: Tensor) -> Tensor:
    """The deltas that the network should predict for `boxes`.

    Args:
        boxes: (..., A, 4) xyxy with positive width and height, input pixels.
        anchors: (A, 4) xyxy, same frame.

    Returns:
        (..., A, 4): dx, dy in anchor sizes times 10; dw, dh as log ratios times 5.
    """
    centre, size = box_convert(boxes, "xyxy", "cxcywh").chunk(2, dim=-1)
    anchor_centre, anchor_size = box_convert(anchors, "xyxy", "cxcywh").chunk(2, dim=-1)
    shift, log_size = (centre - anchor_centre) / anchor_size, (size / anchor_size).log()
    return torch.cat((shift * _CENTRE_WEIGHT, log_size * _SIZE_WEIGHT), dim=-1)


def decode(box_deltas: Tensor, anchors: Tensor) -> Tensor:
    """The inverse of `encode`: (..., A, 4) deltas to (..., A, 4) xyxy in the anchors' frame."""
    shift, log_size = box_deltas.chunk(2, dim=-1)
    anchor_centre, anchor_size = box_convert(anchors, "xyxy", "cxcywh").chunk(2, dim=-1)
    centre = anchor_centre + shift / _CENTRE_WEIGHT * anchor_size
    half_size = anchor_size * (log_size / _SIZE_WEIGHT).clamp(max=MAX_LOG_SIZE).exp() / 2
    return torch.cat((centre - half_size, centre + half_size), dim=-1)
