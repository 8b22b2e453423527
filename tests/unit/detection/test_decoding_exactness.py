"""A whole batch at once gives, bit for bit, what one picture after the other gives."""

import math
from collections.abc import Callable

import pytest
import torch
from torch import Tensor

from blitznet.detection import box_coder
from blitznet.detection.padded import decode_padded
from blitznet.detection.postprocess import decode_detections
from blitznet.detections import Detections
from blitznet.structures import RawPredictions
from reference.greedy_nms import greedy_nms_with_limits
from reference.per_picture_decoding import decode_one_by_one

SIZE = 64
Boxes = Callable[[int, int, torch.Generator], Tensor]
Logits = Callable[[int, int, int, torch.Generator], Tensor]


def grid_boxes(images: int, count: int, rng: torch.Generator) -> Tensor:
    """Small integers: duplicates, shared edges, ties of overlap."""
    corners = torch.randint(0, 40, (images, count, 2), generator=rng)
    return torch.cat((corners, corners + torch.randint(1, 24, corners.shape, generator=rng)), -1)


def chained_boxes(images: int, count: int, rng: torch.Generator) -> Tensor:
    """Each suppresses its neighbours only, in an order that the scores decide."""
    left = torch.arange(count).remainder(16)[None].expand(images, -1) * 3
    return torch.stack((left, left * 0, left + 10, left * 0 + 10), dim=-1)


def random_boxes(images: int, count: int, rng: torch.Generator) -> Tensor:
    corners = torch.rand(images, count, 2, generator=rng) * 60
    return torch.cat((corners, corners + 30 * torch.rand(corners.shape, generator=rng)), dim=-1)


def outside_boxes(images: int, count: int, rng: torch.Generator) -> Tensor:
    """Half of them have no area inside the input."""
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
    """Ties of scores by the hundred."""
    return torch.randint(0, 3, (images, anchors, classes), generator=rng).float()


def all_equal(images: int, anchors: int, classes: int, rng: torch.Generator) -> Tensor:
    return torch.zeros(images, anchors, classes)


def with_wild_values(images: int, anchors: int, classes: int, rng: torch.Generator) -> Tensor:
    logits = noise(images, anchors, classes, rng)
    wild = torch.tensor([math.nan, math.inf, -math.inf, 1e4, -1e4, 3e38])
    where = torch.rand(logits.shape, generator=rng) < 0.02
    logits[where] = wild[torch.randint(0, len(wild), (int(where.sum()),), generator=rng)]
    return logits


def rising(images: int, anchors: int, classes: int, rng: torch.Generator) -> Tensor:
    """The later the anchor the better, the last one before a jump: no sample is representative."""
    logits = torch.linspace(0, 2, anchors)[None, :, None].repeat(images, 1, classes)
    logits[:, ::17] -= 1
    logits[..., 0] = 0
    return logits


LOGITS = [noise, mostly_background, few_values, all_equal, with_wild_values, rising]
THRESHOLDS = [0.01, 0.3, 0.0]


def raw_case(
    boxes: Boxes, logits: Logits, images: int, anchors: int, classes: int, seed: int
) -> tuple[RawPredictions, Tensor]:
    """Raw predictions whose boxes are the given ones to within rounding, and their anchors."""
    rng = torch.Generator().manual_seed(seed)
    anchor_boxes = torch.tensor([16.0, 16, 48, 48]).expand(anchors, 4)
    deltas = box_coder.encode(boxes(images, anchors, rng).float(), anchor_boxes)
    return RawPredictions(logits(images, anchors, classes, rng), deltas, None), anchor_boxes


def assert_same(found: list[Detections], wanted: list[Detections]) -> None:
    assert len(found) == len(wanted)
    for one, other in zip(found, wanted, strict=True):
        for name, a, b in zip(Detections._fields, one, other, strict=True):
            assert torch.equal(a, b), name


@pytest.mark.parametrize("boxes", BOXES)
@pytest.mark.parametrize("logits", LOGITS)
def test_small_pictures_of_every_kind_are_decoded_as_one_by_one(
    boxes: Boxes, logits: Logits
) -> None:
    for seed, threshold in enumerate(THRESHOLDS):
        raw, anchors = raw_case(boxes, logits, 4, 90 + 7 * seed, 4, seed)
        wanted = decode_one_by_one(raw, anchors, SIZE, threshold)
        assert_same(decode_detections(raw, anchors, SIZE, threshold), wanted)
        assert_same(decode_padded(raw, anchors, SIZE, threshold).to_list(), wanted)


@pytest.mark.parametrize("boxes", BOXES)
@pytest.mark.parametrize("logits", LOGITS)
def test_more_than_400_a_class_are_cut_as_one_by_one(boxes: Boxes, logits: Logits) -> None:
    raw, anchors = raw_case(boxes, logits, 2, 2100, 6, seed=3)
    wanted = decode_one_by_one(raw, anchors, SIZE, 0.01)
    assert_same(decode_detections(raw, anchors, SIZE), wanted)
    assert_same(decode_padded(raw, anchors, SIZE, 0.01).to_list(), wanted)


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_half_precision_predictions_are_decoded_as_their_values_in_single_precision(
    dtype: torch.dtype,
) -> None:
    raw, anchors = raw_case(random_boxes, mostly_background, 3, 500, 8, seed=5)
    half = RawPredictions(raw.class_logits.to(dtype), raw.box_deltas.to(dtype), None)
    wanted = decode_one_by_one(half, anchors, SIZE, 0.01)
    assert any(len(one.scores) for one in wanted)
    assert_same(decode_detections(half, anchors, SIZE), wanted)
    assert_same(decode_padded(half, anchors, SIZE, 0.01).to_list(), wanted)


@pytest.mark.parametrize("boxes", BOXES)
def test_detections_are_those_of_the_greedy_loop_over_all_pairs(boxes: Boxes) -> None:
    raw, anchors = raw_case(boxes, few_values, 1, 80, 4, seed=1)
    scores = raw.class_logits[0].softmax(dim=-1)[:, 1:]
    decoded = box_coder.decode(raw.box_deltas[0], anchors).clamp(0, SIZE)
    has_area = (decoded[:, 2:] > decoded[:, :2]).all(dim=1)
    anchor, column = ((scores >= 0.01) & has_area[:, None]).nonzero(as_tuple=True)
    kept = greedy_nms_with_limits(
        decoded[anchor].tolist(), scores[anchor, column].tolist(), column.tolist()
    )
    found = decode_detections(raw, anchors, SIZE)[0]
    assert torch.equal(found.boxes, decoded[anchor[kept]])
    assert torch.equal(found.labels, column[kept] + 1)


def test_more_pictures_than_are_looked_at_together_keep_their_order() -> None:
    raw, anchors = raw_case(random_boxes, mostly_background, 70, 30, 3, seed=2)
    assert_same(decode_detections(raw, anchors, SIZE), decode_one_by_one(raw, anchors, SIZE, 0.01))


@pytest.mark.slow
@pytest.mark.parametrize("boxes", BOXES)
@pytest.mark.parametrize("logits", LOGITS)
def test_ten_thousand_pictures_are_decoded_as_one_by_one(boxes: Boxes, logits: Logits) -> None:
    cases = 0
    for seed in range(10):
        raw, anchors = raw_case(boxes, logits, 28, 5 + 31 * seed, 2 + seed % 5, 100 + seed)
        wanted = decode_one_by_one(raw, anchors, SIZE, THRESHOLDS[seed % 3])
        assert_same(decode_detections(raw, anchors, SIZE, THRESHOLDS[seed % 3]), wanted)
        if seed % 3 == 0:
            padded = decode_padded(raw, anchors, SIZE, THRESHOLDS[seed % 3])
            assert_same(padded.to_list(), wanted)
        cases += len(wanted)
    assert cases * len(BOXES) * len(LOGITS) >= 10_000
