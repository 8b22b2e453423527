"""Samples of one size to a `Batch`."""

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from blitznet.classes import IGNORE_INDEX
from blitznet.data.geometry import Objects
from blitznet.structures import IGNORE_LABEL, PADDING_LABEL, Batch, Sample


def collate_samples(samples: Sequence[Sample]) -> Batch:
    """Stack samples that are already at (S, S); see `Batch` for shapes and padding."""
    size = samples[0].image.shape[0]
    boxes, labels, has_boxes = pad_objects(
        [Objects(s.boxes, s.labels, s.difficult) for s in samples]
    )
    seg_maps = np.full((len(samples), size, size), IGNORE_INDEX, np.uint8)
    for index, sample in enumerate(samples):
        if sample.seg_map is not None:
            seg_maps[index] = sample.seg_map
    images = np.stack([sample.image for sample in samples])
    return Batch(
        images=torch.from_numpy(images).permute(0, 3, 1, 2),  # channels_last in memory
        boxes=boxes,
        labels=labels,
        has_boxes=has_boxes,
        seg_maps=torch.from_numpy(seg_maps),
        sources=tuple(sample.source for sample in samples),
        known_classes=stack_known_classes([sample.known_classes for sample in samples]),
    )


def pad_objects(pictures: Sequence[Objects]) -> tuple[Tensor, Tensor, Tensor]:
    """`boxes`, `labels` and `has_boxes` of a `Batch`."""
    num_boxes = max((len(p.boxes) for p in pictures if p.boxes is not None), default=0)
    boxes = np.zeros((len(pictures), num_boxes, 4), np.float32)
    labels = np.full((len(pictures), num_boxes), PADDING_LABEL, np.int64)
    for index, picture in enumerate(pictures):
        if picture.boxes is not None:
            count = len(picture.boxes)
            boxes[index, :count] = picture.boxes
            labels[index, :count] = np.where(picture.difficult, IGNORE_LABEL, picture.labels)
    has_boxes = torch.tensor([picture.boxes is not None for picture in pictures])
    return torch.from_numpy(boxes), torch.from_numpy(labels), has_boxes


def stack_known_classes(pictures: Sequence[np.ndarray | None]) -> Tensor | None:
    """`known_classes` of a `Batch`: None unless some class of some picture is unknown."""
    known = [row for row in pictures if row is not None]
    if all(row.all() for row in known):
        return None
    everything = np.ones_like(known[0])
    return torch.from_numpy(np.stack([everything if row is None else row for row in pictures]))
