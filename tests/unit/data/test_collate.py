"""Samples to a batch: padding, what is ignored, what is missing."""

import numpy as np
import torch

from blitznet.data.loader import collate_samples
from blitznet.structures import IGNORE_LABEL, PADDING_LABEL, Sample

SIZE = 3


def make_sample(
    boxes: list[list[float]] | None,
    labels: tuple[int, ...] = (),
    difficult: tuple[bool, ...] = (),
    seg_value: int | None = None,
    colour: int = 0,
    source: str = "",
) -> Sample:
    return Sample(
        image=np.full((SIZE, SIZE, 3), (colour, colour + 1, colour + 2), np.uint8),
        boxes=None if boxes is None else np.array(boxes, np.float32).reshape(-1, 4),
        labels=np.array(labels, np.int64),
        difficult=np.array(difficult, bool),
        seg_map=None if seg_value is None else np.full((SIZE, SIZE), seg_value, np.uint8),
        source=source,
    )


def test_boxes_and_labels_are_padded_to_the_largest_picture() -> None:
    batch = collate_samples(
        [
            make_sample([[0, 0, 1, 2]], (4,), (False,)),
            make_sample([[0, 1, 2, 3], [1, 1, 3, 2]], (5, 6), (False, False)),
        ]
    )
    assert batch.boxes.tolist() == [[[0, 0, 1, 2], [0, 0, 0, 0]], [[0, 1, 2, 3], [1, 1, 3, 2]]]
    assert batch.labels.tolist() == [[4, PADDING_LABEL], [5, 6]]
    assert (batch.boxes.dtype, batch.labels.dtype) == (torch.float32, torch.int64)
    assert batch.has_boxes.tolist() == [True, True]


def test_a_difficult_box_keeps_its_place_with_the_label_to_ignore() -> None:
    batch = collate_samples([make_sample([[0, 0, 1, 2], [0, 1, 2, 3]], (4, 5), (True, False))])
    assert batch.boxes.tolist() == [[[0, 0, 1, 2], [0, 1, 2, 3]]]
    assert batch.labels.tolist() == [[IGNORE_LABEL, 5]]


def test_no_objects_and_no_box_labels_are_different_things() -> None:
    batch = collate_samples([make_sample([]), make_sample(None, seg_value=1)])
    assert batch.has_boxes.tolist() == [True, False]
    assert batch.boxes.shape == (2, 0, 4)
    assert batch.labels.shape == (2, 0)


def test_a_missing_map_is_void_everywhere() -> None:
    batch = collate_samples([make_sample([], seg_value=7), make_sample([])])
    assert batch.seg_maps.tolist() == [[[7] * SIZE] * SIZE, [[255] * SIZE] * SIZE]
    assert batch.seg_maps.dtype == torch.uint8


def test_images_become_channels_first_in_shape_and_stay_channels_last_in_memory() -> None:
    batch = collate_samples([make_sample([], colour=10, source="a"), make_sample([], source="b")])
    assert batch.images.shape == (2, 3, SIZE, SIZE)
    assert batch.images.dtype == torch.uint8
    assert batch.images[0, :, 0, 0].tolist() == [10, 11, 12]
    assert batch.images.is_contiguous(memory_format=torch.channels_last)
    assert batch.sources == ("a", "b")
