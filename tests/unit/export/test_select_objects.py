"""Suppression in tensors of fixed size equals the greedy definition, ties included."""

import pytest
import torch
from torch import Tensor

from blitznet.export.limits import Limits
from blitznet.export.select_objects import select_objects
from object_cases import CASES, draw_case, greedy_objects


@pytest.mark.parametrize("case", CASES)
def test_a_batch_keeps_what_the_greedy_definition_keeps_picture_by_picture(
    case: str, rng: torch.Generator
) -> None:
    boxes, scores = draw_case(case, rng, images=3, anchors=500, classes=4)
    assert_equal(select_objects(boxes, scores, Limits()), boxes, scores, Limits())


@pytest.mark.parametrize(
    "limits", [Limits(score=0.3), Limits(iou=0.1), Limits(top=7), Limits(iou=1.0), Limits(iou=0.0)]
)
def test_every_limit_is_kept(limits: Limits, rng: torch.Generator) -> None:
    boxes, scores = draw_case("ties", rng, images=2, anchors=450, classes=3)
    assert_equal(select_objects(boxes, scores, limits), boxes, scores, limits)


def test_few_anchors_of_few_classes_are_padded_to_the_fixed_size(rng: torch.Generator) -> None:
    boxes, scores = draw_case("distinct", rng, images=2, anchors=5, classes=1)
    found = select_objects(boxes, scores, Limits())
    assert [tuple(values.shape) for values in found] == [(2, 200, 4), (2, 200), (2, 200), (2,)]
    assert_equal(found, boxes, scores, Limits())


def assert_equal(found: tuple[Tensor, ...], boxes: Tensor, scores: Tensor, limits: Limits) -> None:
    """To the greedy definition, exactly; and zeros behind it."""
    for image in range(len(boxes)):
        expected = greedy_objects(boxes[image], scores[image], limits)
        count = int(found[3][image])
        assert count == len(expected.labels)
        assert torch.equal(found[0][image, :count], expected.boxes)
        assert torch.equal(found[1][image, :count], expected.scores)
        assert torch.equal(found[2][image, :count], expected.labels)
        assert not any(values[image, count:].any() for values in found[:3])
