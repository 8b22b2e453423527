"""Decoding is bit-identical to the greedy loop over all pairs."""

import math
from collections.abc import Callable

import numpy as np
import pytest
import torch
from torch import Tensor

from blitznet.detection import box_coder
from blitznet.detection.limits import Limits
from blitznet.detection.postprocess import decode_detections
from blitznet.structures import RawPredictions
from reference.greedy_nms import decode_with_loops

SIZE = 64
Boxes = Callable[[int, int, torch.Generator], Tensor]
Logits = Callable[[int, int, int, torch.Generator], Tensor]


def grid_boxes(images: int, count: int, rng: torch.Generator) -> Tensor:
    """Small integers: duplicates, shared edges, ties of overlap."""
    corners = torch.randint(0, 40, (images, count, 2), generator=rng)
    return torch.cat((corners, corners + torch.randint(1, 24, corners.shape, generator=rng)), -1)


def chained_boxes(images: int, count: int, rng: torch.Generator) -> Tensor:
    """Chains of boxes: each suppresses only its neighbours, in the order of scores."""
    left = torch.arange(count).remainder(16)[None].expand(images, -1) * 3
    return torch.stack((left, left * 0, left + 10, left * 0 + 10), dim=-1)


def random_boxes(images: int, count: int, rng: torch.Generator) -> Tensor:
    corners = torch.rand(images, count, 2, generator=rng) * 60
    return torch.cat((corners, corners + 30 * torch.rand(corners.shape, generator=rng)), dim=-1)


def outside_boxes(images: int, count: int, rng: torch.Generator) -> Tensor:
    """Boxes of which half have no area inside the input."""
    boxes = random_boxes(images, count, rng)
    return boxes + 100 * torch.randint(0, 2, (images, count, 1), generator=rng)


def identical_boxes(images: int, count: int, rng: torch.Generator) -> Tensor:
    return torch.tensor([10.0, 10, 30, 30]).expand(images, count, 4)


def apart_boxes(images: int, count: int, rng: torch.Generator) -> Tensor:
    place = torch.arange(count)[None].expand(images, -1).remainder(1024)
    left, top = place.remainder(32) * 2, place // 32 * 2
    return torch.stack((left, top, left + 1, top + 1), dim=-1)


BOXES = [grid_boxes, chained_boxes, random_boxes, outside_boxes, identical_boxes, apart_boxes]


def noise(images: int, anchors: int, classes: int, rng: torch.Generator) -> Tensor:
    return 2 * torch.randn(images, anchors, classes, generator=rng)


def mostly_background(images: int, anchors: int, classes: int, rng: torch.Generator) -> Tensor:
    logits = torch.randn(images, anchors, classes, generator=rng)
    logits[..., 0] += 8 * torch.rand(images, anchors, generator=rng)
    return logits


def few_values(images: int, anchors: int, classes: int, rng: torch.Generator) -> Tensor:
    """Hundreds of equal scores."""
    return torch.randint(0, 3, (images, anchors, classes), generator=rng).float()


def all_equal(images: int, anchors: int, classes: int, rng: torch.Generator) -> Tensor:
    return torch.zeros(images, anchors, classes)


def with_wild_values(images: int, anchors: int, classes: int, rng: torch.Generator) -> Tensor:
    logits = noise(images, anchors, classes, rng)
    wild = torch.tensor([math.nan, math.inf, -math.inf, 1e4, -1e4, 3e38])
    where = torch.rand(logits.shape, generator=rng) < 0.02
    logits[where] = wild[torch.randint(0, len(wild), (int(where.sum()),), generator=rng)]
    return logits


LOGITS = [noise, mostly_background, few_values, all_equal, with_wild_values]
THRESHOLDS = [0.01, 0.3, 0.0]


def raw_case(
    boxes: Boxes, logits: Logits, images: int, anchors: int, classes: int, seed: int
) -> tuple[RawPredictions, Tensor]:
    """Raw predictions that decode to the given boxes, up to rounding, and their anchors."""
    rng = torch.Generator().manual_seed(seed)
    anchor_boxes = torch.tensor([16.0, 16, 48, 48]).expand(anchors, 4)
    deltas = box_coder.encode(boxes(images, anchors, rng).float(), anchor_boxes)
    return RawPredictions(logits(images, anchors, classes, rng), deltas, None), anchor_boxes


def assert_decoded_as_by_loops(raw: RawPredictions, anchors: Tensor, threshold: float) -> int:
    """Compare both; return the number of objects."""
    found = decode_detections(raw, anchors, SIZE, Limits(threshold))
    assert len(found) == len(raw.class_logits)
    for logits, deltas, one in zip(raw.class_logits, raw.box_deltas, found, strict=True):
        boxes, labels, scores = decode_with_loops(logits, deltas, anchors, SIZE, Limits(threshold))
        np.testing.assert_array_equal(one.boxes, boxes)
        np.testing.assert_array_equal(one.labels, labels)
        np.testing.assert_array_equal(one.scores, scores)
    return sum(len(one.scores) for one in found)


@pytest.mark.parametrize("boxes", BOXES)
@pytest.mark.parametrize("logits", LOGITS)
def test_small_images_of_every_kind_are_decoded_as_by_loops(boxes: Boxes, logits: Logits) -> None:
    for seed, threshold in enumerate(THRESHOLDS):
        raw, anchors = raw_case(boxes, logits, 2, 60 + 7 * seed, 4, seed)
        assert_decoded_as_by_loops(raw, anchors, threshold)


@pytest.mark.parametrize("boxes", [apart_boxes, identical_boxes])
def test_more_than_400_a_class_are_cut_as_by_loops(boxes: Boxes) -> None:
    raw, anchors = raw_case(boxes, noise, 1, 700, 3, seed=3)
    assert assert_decoded_as_by_loops(raw, anchors, 0.01) > 0


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_predictions_are_decoded_as_their_values_in_single_precision(
    dtype: torch.dtype,
) -> None:
    raw, anchors = raw_case(random_boxes, mostly_background, 2, 200, 4, seed=5)
    half = RawPredictions(raw.class_logits.to(dtype), raw.box_deltas.to(dtype), None)
    assert assert_decoded_as_by_loops(half, anchors, 0.01) > 0


@pytest.mark.slow
@pytest.mark.parametrize("boxes", BOXES)
@pytest.mark.parametrize("logits", LOGITS)
def test_hundreds_of_images_are_decoded_as_by_loops(boxes: Boxes, logits: Logits) -> None:
    for seed in range(10):
        raw, anchors = raw_case(boxes, logits, 8, 5 + 31 * seed, 2 + seed % 5, 100 + seed)
        assert_decoded_as_by_loops(raw, anchors, THRESHOLDS[seed % 3])
