"""A batch with boxes and maps for any network."""

import torch

from blitznet.classes import IGNORE_INDEX
from blitznet.detection.anchors import anchors_of
from blitznet.model_info import ModelConfig
from blitznet.structures import Batch


def labelled_batch(config: ModelConfig, rng: torch.Generator) -> Batch:
    """Two images of noise with an object of every level's size and maps that are partly void."""
    size = config.image_size
    cells = [6 * level_size**2 for level_size in config.level_sizes]
    level_starts = [sum(cells[:level]) for level in range(len(cells))]
    boxes = anchors_of(config)[level_starts].expand(2, -1, -1).clone()
    seg_maps = torch.randint(
        0, config.num_classes, (2, size, size), generator=rng, dtype=torch.uint8
    )
    seg_maps[:, ::5] = IGNORE_INDEX
    return Batch(
        images=torch.randint(0, 256, (2, 3, size, size), generator=rng, dtype=torch.uint8),
        boxes=boxes,
        labels=torch.randint(1, config.num_classes, boxes.shape[:2], generator=rng),
        has_boxes=torch.ones(2, dtype=torch.bool),
        seg_maps=seg_maps,
        sources=("first", "second"),
    )
