"""Overlap of boxes. Boxes are xyxy internally; other formats only in files."""

from torch import Tensor
from torchvision.ops import box_iou


def pairwise_iou(a: Tensor, b: Tensor) -> Tensor:
    """Intersection over union of every box of `a` with every box of `b`.

    Args:
        a: (..., N, 4) xyxy.
        b: (..., M, 4) xyxy, same frame; leading dimensions broadcast.

    Returns:
        (..., N, M). The IoU of a box without area is 0, even with itself, and never NaN.
    """
    iou: Tensor = box_iou(a, b)
    return iou.nan_to_num_(0)
