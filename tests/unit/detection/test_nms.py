"""Limits and ties by hand; test_decoding_exactness.py compares with the greedy loop."""

import torch
from torch import Tensor

from blitznet.detection.limits import Limits
from blitznet.detection.nms import per_class_nms


def random_boxes(count: int, rng: torch.Generator) -> Tensor:
    corners = torch.rand(count, 2, generator=rng) * 100
    return torch.cat((corners, corners + 5 + 40 * torch.rand(count, 2, generator=rng)), dim=1)


def apart(count: int) -> Tensor:
    """Unit boxes that do not touch."""
    left = torch.arange(count, dtype=torch.float32) * 2
    zero = torch.zeros(count)
    return torch.stack((left, zero, left + 1, zero + 1), dim=1)


def test_no_candidates_leave_no_survivors() -> None:
    kept = per_class_nms(torch.zeros(0, 4), torch.zeros(0), torch.zeros(0, dtype=torch.int64))
    assert kept.shape == (0,)
    assert kept.dtype == torch.int64


def test_only_the_best_400_of_a_class_take_part() -> None:
    pile = torch.tensor([[90.0, 90.0, 99.0, 99.0]])
    for size_of_pile, expected in ((399, [0, 399]), (400, [0])):
        boxes = torch.cat((pile.expand(size_of_pile, -1), apart(1)))
        scores = torch.linspace(0.9, 0.1, len(boxes))
        labels = torch.zeros(len(boxes), dtype=torch.int64)
        assert per_class_nms(boxes, scores, labels).tolist() == expected


def test_the_best_50_of_a_class_and_the_best_200_of_an_image_are_kept() -> None:
    boxes = apart(300)
    scores = torch.linspace(0.1, 0.9, 300)
    labels = torch.arange(300) % 5
    kept = per_class_nms(boxes, scores, labels).tolist()
    assert kept == list(range(299, 99, -1))  # of 250 survivors
    assert per_class_nms(boxes, scores, labels * 0).tolist() == list(range(299, 249, -1))


def test_overlap_of_exactly_the_threshold_survives_and_a_little_more_does_not() -> None:
    scores, labels = torch.tensor([0.9, 0.8]), torch.zeros(2, dtype=torch.int64)
    half = torch.tensor([[0.0, 0.0, 8.0, 8.0], [0.0, 0.0, 8.0, 4.0]])
    assert per_class_nms(half, scores, labels, Limits(iou=0.5)).tolist() == [0, 1]
    half[1, 3] += 1e-5
    assert per_class_nms(half, scores, labels, Limits(iou=0.5)).tolist() == [0]


def test_boxes_of_different_classes_do_not_suppress_each_other() -> None:
    boxes = torch.tensor([[0.0, 0.0, 8.0, 8.0]]).expand(3, -1)
    scores = torch.tensor([0.5, 0.7, 0.6])
    assert per_class_nms(boxes, scores, torch.tensor([3, 1, 3])).tolist() == [1, 2]


def test_order_of_the_candidates_does_not_matter(rng: torch.Generator) -> None:
    boxes, scores = random_boxes(100, rng), torch.rand(100, generator=rng)
    labels = torch.randint(0, 3, (100,), generator=rng)
    shuffle = torch.randperm(100, generator=rng)
    shuffled = per_class_nms(boxes[shuffle], scores[shuffle], labels[shuffle])
    assert torch.equal(shuffle[shuffled], per_class_nms(boxes, scores, labels))


def test_of_equal_scores_the_earlier_candidate_comes_first_across_classes() -> None:
    labels = torch.tensor([2, 1, 0, 1])
    assert per_class_nms(apart(4), torch.full((4,), 0.5), labels).tolist() == [0, 1, 2, 3]
