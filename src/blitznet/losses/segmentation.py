"""The segmentation loss: pixel-wise cross-entropy (section 3.6)."""

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn import functional as F

from blitznet.classes import IGNORE_INDEX
from blitznet.losses.distillation import soften
from blitznet.losses.partial_labels import merge_unknown_classes


def segmentation_loss(
    seg_logits: Tensor,
    seg_maps: Tensor,
    known_classes: Tensor | None = None,
    soft_labels: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """Cross-entropy over labelled pixels, at the resolution of the logits.

    Args:
        seg_logits: (B, C, h, w).
        seg_maps: (B, H, W) integer class ids, 255 = void; resized by nearest neighbour (D8).
        known_classes: (B, C) bool, see `partial_labels`; None = all.
        soft_labels: (B, C, h', w') a teacher's probabilities, see `soften`; resized bilinearly.

    Returns:
        Scalars: the sum over labelled pixels, exactly 0 without any, and their number.
    """
    seg_maps = resize_maps(seg_maps, seg_logits.shape[-2:])
    is_labelled = seg_maps != IGNORE_INDEX
    target = torch.where(is_labelled, seg_maps, 0).long()
    own_logits = seg_logits
    if known_classes is not None:
        seg_logits = merge_unknown_classes(seg_logits, target == 0, known_classes)
    pixel_loss = F.cross_entropy(seg_logits, target, reduction="none")
    if soft_labels is not None:
        resized = F.interpolate(soft_labels, size=seg_logits.shape[-2:], mode="bilinear")
        pixel_loss = soften(pixel_loss, own_logits, resized, class_dim=1)
    return torch.where(is_labelled, pixel_loss, 0).sum(), is_labelled.sum()


def resize_maps(seg_maps: Tensor, size: Sequence[int]) -> Tensor:
    """Resize (B, H, W) class ids of any integer type to (B, *size) by nearest neighbour."""
    if seg_maps.shape[-2:] == torch.Size(size):
        return seg_maps
    # Of the integers, `interpolate` takes uint8 only.
    maps = seg_maps if seg_maps.dtype == torch.uint8 else seg_maps.float()
    resized = F.interpolate(maps[:, None], size=tuple(size), mode="nearest-exact")[:, 0]
    return resized.to(seg_maps.dtype)
