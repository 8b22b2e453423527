"""Anchor boxes (SSD: default boxes, prior boxes)."""

import math
from itertools import pairwise

import torch
from torch import Tensor

from blitznet.model_info import ModelConfig

ASPECT_RATIOS = (2.0, 1 / 2, 3.0, 1 / 3)
ANCHORS_PER_CELL = 2 + len(ASPECT_RATIOS)


def level_scales(
    num_levels: int, finest_scale: float, min_scale: float, max_scale: float
) -> list[float]:
    """Anchor scale per level, finest first, plus one beyond the coarsest level.

    The finest level has its own scale, the others go linearly from `min_scale` to `max_scale` (D3).
    """
    step = (max_scale - min_scale) / max(num_levels - 2, 1)
    return [finest_scale, *(min_scale + step * i for i in range(num_levels))]


def anchor_shapes(config: ModelConfig) -> Tensor:
    """(L, 6, 2) float64: width and height of every level's anchors; fractions of the image side."""
    num_levels = len(config.level_sizes)
    scales = level_scales(num_levels, config.finest_scale, config.min_scale, config.max_scale)
    shapes = []
    for scale, next_scale in pairwise(scales):
        between = math.sqrt(scale * next_scale)
        shapes += [(scale, scale), (between, between)]
        shapes += [(scale * math.sqrt(ratio), scale / math.sqrt(ratio)) for ratio in ASPECT_RATIOS]
    return torch.tensor(shapes, dtype=torch.float64).view(num_levels, ANCHORS_PER_CELL, 2)


def anchors_of(config: ModelConfig) -> Tensor:
    """Six anchors per cell: squares of s_i and sqrt(s_i s_i+1), and ratios 2, 1/2, 3, 1/3 at s_i.

    Returns:
        (A, 4) float32 xyxy in input pixels, not clipped to the image; ordered by level, row,
        column and anchor within the cell, like the predictions of the multibox head.
    """
    levels = []
    for size, half_shapes in zip(config.level_sizes, anchor_shapes(config) / 2, strict=True):
        centres = (torch.arange(size, dtype=torch.float64) + 0.5) / size
        y, x = torch.meshgrid(centres, centres, indexing="ij")
        xy = torch.stack((x, y), dim=-1).reshape(-1, 1, 2)
        levels.append(torch.cat((xy - half_shapes, xy + half_shapes), dim=-1).reshape(-1, 4))
    return (torch.cat(levels) * config.image_size).float()
