"""Prediction heads: single convolutions on every level (section 3.4)."""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from blitznet.detection.anchors import ANCHORS_PER_CELL


class MultiboxHead(nn.Module):
    """Per level, a 3x3 convolution for classes and one for box deltas; levels share no weights."""

    def __init__(self, channels: list[int], num_classes: int, background_rows: int = 1):
        super().__init__()
        self.background_rows = background_rows
        self.num_rows = num_classes - 1 + background_rows
        self.classify = nn.ModuleList(
            nn.Conv2d(c, ANCHORS_PER_CELL * self.num_rows, 3, padding=1) for c in channels
        )
        self.regress = nn.ModuleList(
            nn.Conv2d(c, ANCHORS_PER_CELL * 4, 3, padding=1) for c in channels
        )

    def forward(self, features: list[Tensor]) -> tuple[Tensor, Tensor]:
        """Features, finest first, to class_logits (B, A, C) and box_deltas (B, A, 4)."""
        class_logits = [conv(f) for conv, f in zip(self.classify, features, strict=True)]
        box_deltas = [conv(f) for conv, f in zip(self.regress, features, strict=True)]
        rows = _by_anchor(class_logits, self.num_rows)
        return fold_background(rows, self.background_rows, dim=2), _by_anchor(box_deltas, 4)


def fold_background(rows: Tensor, number: int, dim: int) -> Tensor:
    """Merge the first `number` rows into one for background, which leaves logits of C classes.

    Its logit is their log-sum-exp, so that softmax gives background the sum of their probabilities.
    """
    if number == 1:
        return rows
    background = rows.narrow(dim, 0, number)
    objects = rows.narrow(dim, number, rows.shape[dim] - number)
    largest = background.amax(dim, keepdim=True)
    joint = largest + (background - largest).exp().sum(dim, keepdim=True).log()
    return torch.cat((joint, objects), dim)


def _by_anchor(levels: list[Tensor], values: int) -> Tensor:
    """(B, anchors * values, h, w) per level to (B, A, values), in the order of `anchors_of`."""
    rows = [level.permute(0, 2, 3, 1).reshape(level.shape[0], -1, values) for level in levels]
    return torch.cat(rows, dim=1)


class SegmentationHead(nn.Module):
    """Per level 1x1 to 64 maps, up-sampled to the finest, concatenated, 3x3 (section 3.6)."""

    def __init__(self, channels: list[int], width: int, num_classes: int, background_rows: int = 1):
        super().__init__()
        self.background_rows = background_rows
        self.squeeze = nn.ModuleList(nn.Conv2d(c, width, 1) for c in channels)
        self.classify = nn.Conv2d(
            width * len(channels), num_classes - 1 + background_rows, 3, padding=1
        )

    def forward(self, features: list[Tensor]) -> Tensor:
        """Features, finest first, to seg_logits (B, C, h, w) at the finest one's size."""
        size = features[0].shape[-2:]
        maps = [
            F.interpolate(conv(f), size=size, mode="bilinear", align_corners=False)
            for conv, f in zip(self.squeeze, features, strict=True)
        ]
        rows = self.classify(torch.cat(maps, dim=1))
        return fold_background(rows, self.background_rows, dim=1)
