"""Fixtures for all tests: a network small enough to run in milliseconds, and labels for it."""

from collections.abc import Callable

import pytest
import torch

from blitznet.classes import IGNORE_INDEX
from blitznet.model.blitznet import BlitzNet
from blitznet.model.config import ModelConfig
from blitznet.structures import Batch

MakeBatch = Callable[[ModelConfig], Batch]


@pytest.fixture
def rng() -> torch.Generator:
    """Explicit randomness, the same in every run."""
    return torch.Generator().manual_seed(0)


@pytest.fixture
def tiny_config() -> ModelConfig:
    """Levels of 8, 4, 2 and 1 cells, 510 anchors, 3 classes, 32 channels."""
    return ModelConfig(
        name="tiny",
        backbone="test_resnet",
        image_size=64,
        finest_stride=8,
        num_classes=3,
        downscale_width=32,
        upscale_width=32,
        seg_width=8,
        finest_scale=0.1,
        min_scale=0.2,
    )


@pytest.fixture
def tiny_network(tiny_config: ModelConfig) -> BlitzNet:
    """Untrained, in evaluation mode, always with the same weights."""
    torch.manual_seed(0)
    return BlitzNet(tiny_config).eval()


@pytest.fixture
def make_batch(rng: torch.Generator) -> MakeBatch:
    """Two labelled pictures for a configuration, with an object of every level's size."""

    def make(config: ModelConfig) -> Batch:
        size = config.image_size
        anchors = config.make_anchors()
        cells = [6 * level_size**2 for level_size in config.level_sizes]
        level_starts = [sum(cells[:level]) for level in range(len(cells))]
        boxes = anchors[level_starts].expand(2, -1, -1).clone()  # the first anchor of each level
        labels = torch.randint(1, config.num_classes, boxes.shape[:2], generator=rng)
        seg_maps = torch.randint(
            0, config.num_classes, (2, size, size), generator=rng, dtype=torch.uint8
        )
        seg_maps[:, ::5] = IGNORE_INDEX
        return Batch(
            images=torch.randint(0, 256, (2, 3, size, size), generator=rng, dtype=torch.uint8),
            boxes=boxes,
            labels=labels,
            has_boxes=torch.ones(2, dtype=torch.bool),
            seg_maps=seg_maps,
            sources=("first", "second"),
        )

    return make
