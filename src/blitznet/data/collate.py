"""Samples of one size to a `Batch`."""

from collections.abc import Sequence

import numpy as np
import torch

from blitznet.classes import IGNORE_INDEX
from blitznet.structures import IGNORE_LABEL, PADDING_LABEL, Batch, Sample


def collate_samples(samples: Sequence[Sample]) -> Batch:
    """Stack samples that are already at (S, S); see `Batch` for shapes and padding."""
    size = samples[0].image.shape[0]
    num_boxes = max((len(s.boxes) for s in samples if s.boxes is not None), default=0)
    boxes = np.zeros((len(samples), num_boxes, 4), np.float32)
    labels = np.full((len(samples), num_boxes), PADDING_LABEL, np.int64)
    seg_maps = np.full((len(samples), size, size), IGNORE_INDEX, np.uint8)
    for index, sample in enumerate(samples):
        if sample.boxes is not None:
            count = len(sample.boxes)
            boxes[index, :count] = sample.boxes
            labels[index, :count] = np.where(sample.difficult, IGNORE_LABEL, sample.labels)
        if sample.seg_map is not None:
            seg_maps[index] = sample.seg_map
    images = np.stack([sample.image for sample in samples])
    return Batch(
        images=torch.from_numpy(images).permute(0, 3, 1, 2),  # channels_last in memory
        boxes=torch.from_numpy(boxes),
        labels=torch.from_numpy(labels),
        has_boxes=torch.tensor([sample.boxes is not None for sample in samples]),
        seg_maps=torch.from_numpy(seg_maps),
        sources=tuple(sample.source for sample in samples),
        known_classes=_stack_known_classes(samples),
    )


def _stack_known_classes(samples: Sequence[Sample]) -> torch.Tensor | None:
    """None unless some class of some picture is unknown."""
    known = [s.known_classes for s in samples if s.known_classes is not None]
    if all(row.all() for row in known):
        return None
    everything = np.ones_like(known[0])
    rows = [everything if s.known_classes is None else s.known_classes for s in samples]
    return torch.from_numpy(np.stack(rows))
