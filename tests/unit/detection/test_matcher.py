import pytest
import torch
from torch import Tensor

from blitznet.detection.boxes import pairwise_iou
from blitznet.detection.matcher import NO_MATCH, match_anchors
from blitznet.structures import IGNORE_LABEL, PADDING_LABEL
from reference.ssd_matching_loops import match_loops
from tiny_network import anchors_of_levels


def match_one(anchors: list[tuple[float, ...]], boxes: list[tuple[float, ...]]) -> list[int]:
    """Match a single image whose boxes are all of class 1."""
    labels = torch.ones(1, len(boxes), dtype=torch.int64)
    return match_anchors(torch.tensor(anchors), torch.tensor([boxes]), labels)[0].tolist()


def assert_equals_loops(anchors: Tensor, boxes: Tensor, labels: Tensor) -> None:
    match = match_anchors(anchors, boxes, labels)
    expected = [
        match_loops(anchors.numpy(), *image)
        for image in zip(boxes.numpy(), labels.numpy(), strict=True)
    ]
    assert match.tolist() == expected
    assert match.dtype == torch.int64


@pytest.fixture
def anchors() -> Tensor:
    """126 anchors of a 64-pixel network with 4, 2 and 1 cells per side."""
    return anchors_of_levels(64, [4, 2, 1], 0.15, 0.35, 0.9)


@pytest.mark.parametrize("seed", range(10))
def test_matching_random_boxes_with_padding_and_ignored_ones_equals_the_loops(
    anchors: Tensor, seed: int
) -> None:
    rng = torch.Generator().manual_seed(seed)
    corners = torch.rand(3, 7, 2, generator=rng) * 60 - 5
    boxes = torch.cat((corners, corners + 3 + 40 * torch.rand(3, 7, 2, generator=rng)), dim=-1)
    labels = torch.randint(IGNORE_LABEL, 4, (3, 7), generator=rng)
    assert {IGNORE_LABEL, PADDING_LABEL} <= set(labels.flatten().tolist())
    assert_equals_loops(anchors, boxes, labels)


def test_matching_boxes_that_contest_anchors_equals_the_loops(
    anchors: Tensor, rng: torch.Generator
) -> None:
    # Eight boxes around each of two anchors: most of them want the same one, some equally much.
    jitter = torch.randint(-2, 3, (1, 16, 4), generator=rng)
    boxes = (anchors[[80, 100]].round().repeat(8, 1) + jitter).float()
    boxes[0, 5] = boxes[0, 2]
    labels = torch.ones(1, 16, dtype=torch.int64)
    assert_equals_loops(anchors, boxes, labels)
    best_anchors = pairwise_iou(boxes[0], anchors).argmax(dim=1)
    assert len(best_anchors.unique()) < 16  # they do contest


def test_matching_boxes_that_are_anchors_or_multiples_of_cells_equals_the_loops(
    anchors: Tensor,
) -> None:
    on_grid = torch.tensor([[0, 0, 32, 32], [16, 16, 48, 48], [0, 0, 64, 64], [8, 8, 24, 24.0]])
    boxes = torch.cat((anchors[[0, 7, 96, 125]], on_grid))[None]
    assert_equals_loops(anchors, boxes, torch.tensor([[1, 2, 3, 1, 2, 3, 1, 2]]))


def test_box_takes_its_best_anchor_even_below_the_threshold() -> None:
    # IoU 0.2 and 0.1.
    assert match_one([(0, 0, 10, 2), (0, 0, 10, 1)], [(0.0, 0.0, 10.0, 10.0)]) == [0, NO_MATCH]


def test_anchor_of_exactly_the_threshold_is_matched_and_one_just_below_is_not() -> None:
    anchors = [(0.0, 0.0, 8.0, 8.0), (0.0, 0.0, 8.0, 4.0), (0.0, 0.0, 8.0, 3.99)]
    assert match_one(anchors, [(0.0, 0.0, 8.0, 8.0)]) == [0, 0, NO_MATCH]


def test_anchor_takes_the_box_that_it_overlaps_most_and_the_first_of_equals() -> None:
    anchor, best = (0.0, 0.0, 10.0, 10.0), (0.0, 0.0, 10.0, 11.0)
    # The last anchors give every box its best one, so that only overlap decides on the first.
    nine, eight = (0.0, 0.0, 10.0, 9.0), (0.0, 0.0, 10.0, 8.0)
    assert match_one([anchor, nine, eight], [eight, nine]) == [1, 1, 0]
    mirrored = (0.0, 1.0, 10.0, 10.0)
    assert match_one([anchor, nine, mirrored], [mirrored, nine]) == [0, 1, 0]
    assert match_one([best, anchor], [anchor]) == [0, 0]


def test_best_anchor_of_a_box_is_its_own_though_another_box_overlaps_it_more() -> None:
    anchors = [(0.0, 0.0, 10.0, 10.0), (0.0, 0.0, 10.0, 12.0)]
    small, large = (0.0, 0.0, 10.0, 7.0), (0.0, 0.0, 10.0, 11.0)
    # `large` overlaps both anchors more than `small` does, but its own best is the second.
    assert match_one(anchors, [large, small]) == [1, 0]


def test_of_two_boxes_that_want_one_anchor_the_better_overlap_gets_it() -> None:
    anchors = [(0.0, 0.0, 10.0, 10.0), (50.0, 50.0, 60.0, 60.0)]
    weaker, stronger = (0.0, 0.0, 10.0, 3.0), (0.0, 0.0, 10.0, 4.0)
    assert match_one(anchors, [weaker, stronger]) == [1, NO_MATCH]
    assert match_one(anchors, [stronger, weaker]) == [0, NO_MATCH]
    assert match_one(anchors, [stronger, stronger]) == [0, NO_MATCH]


def test_loser_of_a_contested_anchor_gets_none_though_it_overlaps_another() -> None:
    anchors = [(0.0, 0.0, 10.0, 10.0), (0.0, 0.0, 10.0, 3.0)]
    winner, loser = (0.0, 0.0, 10.0, 9.0), (0.0, 0.0, 10.0, 8.0)
    assert match_one(anchors, [winner, loser]) == [0, NO_MATCH]


def test_box_that_overlaps_no_anchor_or_has_no_area_is_matched_to_none() -> None:
    outside, flat = (90.0, 90.0, 99.0, 99.0), (3.0, 3.0, 3.0, 8.0)
    assert match_one([(0.0, 0.0, 10.0, 10.0)], [outside, flat]) == [NO_MATCH]


@pytest.mark.parametrize("num_boxes", [0, 1, 3])
def test_image_without_boxes_matches_nothing_whatever_its_padding(
    anchors: Tensor, num_boxes: int
) -> None:
    padding = torch.full((2, num_boxes), PADDING_LABEL)
    match = match_anchors(anchors, anchors[:num_boxes].expand(2, -1, -1), padding)
    assert torch.equal(match, torch.full((2, 126), NO_MATCH))
