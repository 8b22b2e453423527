"""Box conversions and overlap. Boxes are xyxy internally; other formats only in files."""

import torch
from torch import Tensor


def xyxy_to_cxcywh(boxes: Tensor) -> Tensor:
    """(..., 4) corners to (..., 4) centre and size."""
    top_left, bottom_right = boxes[..., :2], boxes[..., 2:]
    return torch.cat(((top_left + bottom_right) / 2, bottom_right - top_left), dim=-1)


def cxcywh_to_xyxy(boxes: Tensor) -> Tensor:
    """(..., 4) centre and size to (..., 4) corners."""
    centre, half_size = boxes[..., :2], boxes[..., 2:] / 2
    return torch.cat((centre - half_size, centre + half_size), dim=-1)


def pairwise_iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of every box of `a` with every box of `b`.

    Args:
        a: (..., N, 4) xyxy.
        b: (..., M, 4) xyxy, same frame; leading dimensions broadcast.

    Returns:
        (..., N, M). The IoU of a box without area is 0, even with itself, and never NaN.
    """
    a, b = a[..., :, None, :], b[..., None, :, :]
    top_left = torch.maximum(a[..., :2], b[..., :2])
    bottom_right = torch.minimum(a[..., 2:], b[..., 2:])
    width, height = (bottom_right - top_left).clamp(min=0).unbind(dim=-1)
    intersection = width * height
    union = box_area(a) + box_area(b) - intersection
    return intersection / torch.where(union > 0, union, 1)


def box_area(boxes: Tensor) -> Tensor:
    """(..., 4) xyxy to (...) area."""
    return (boxes[..., 2] - boxes[..., 0]) * (boxes[..., 3] - boxes[..., 1])
