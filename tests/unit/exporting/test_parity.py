"""Counts when a file is compared with its checkpoint."""

import numpy as np
import pytest
import torch

from blitznet.detections import Detections
from blitznet.exporting.parity import (
    TOLERANCES,
    Matched,
    Parity,
    match_objects,
    problems,
    same_pixel_share,
)


def objects(*rows: tuple[float, float, float, float, int, float]) -> Detections:
    """Detections from rows of x1, y1, x2, y2, label, score."""
    values = torch.tensor(rows, dtype=torch.float32).reshape(-1, 6)
    values = values.numpy()
    return Detections(values[:, :4], values[:, 4].astype(np.int64), values[:, 5])


CAT = (0.0, 0.0, 10.0, 10.0, 1, 0.9)


@pytest.mark.parametrize(
    ("given", "same", "found"),
    [
        (CAT, 1, 1),
        ((0, 0, 10, 9.5, 1, 0.895), 1, 1),  # IoU 0.95
        ((0, 0, 10, 8, 1, 0.9), 0, 1),  # IoU 0.8
        ((0, 0, 10, 10, 1, 0.85), 0, 1),  # another score
        ((0, 0, 10, 10, 2, 0.9), 0, 0),  # another class
        ((0, 0, 10, 4, 1, 0.9), 0, 0),  # IoU 0.4
    ],
)
def test_an_object_is_the_same_or_found_or_lost(
    given: tuple[float, float, float, float, int, float], same: int, found: int
) -> None:
    assert match_objects([objects(CAT)], [objects(given)], 0.5) == Matched(0.5, 1, same, found)


def test_one_object_of_the_file_stands_for_one_of_the_reference() -> None:
    twins = objects(CAT, (0, 0, 10, 9.9, 1, 0.895))
    assert match_objects([twins], [objects(CAT)], 0.5) == Matched(0.5, 2, 1, 1)
    assert match_objects([twins], [twins], 0.5) == Matched(0.5, 2, 2, 2)


def test_objects_below_the_score_do_not_count_and_empty_images_do_no_harm() -> None:
    weak = objects((0, 0, 10, 10, 1, 0.4))
    assert match_objects([weak], [objects()], 0.5) == Matched(0.5, 0, 0, 0)
    assert match_objects([objects(CAT)], [objects()], 0.5) == Matched(0.5, 1, 0, 0)
    assert match_objects([objects()], [objects(CAT)], 0.5) == Matched(0.5, 0, 0, 0)


def test_pixels_are_compared_by_their_best_class() -> None:
    reference = np.zeros((1, 2, 2, 2))
    reference[0, 1, 0] = 1
    exported = reference.copy()
    exported[0, 1, 1, 1] = 2
    assert same_pixel_share([(reference, exported)]) == 0.75
    assert same_pixel_share([]) is None


def parity(
    shown: int = 100, weak: int = 100, pixels: float | None = 1.0, metric: float = 0.7
) -> Parity:
    return Parity(
        images=10,
        matched=(Matched(0.5, 100, shown, shown), Matched(0.05, 100, weak, weak)),
        same_pixels=pixels,
        largest_difference=1e-4,
        metrics={"mIoU": (0.7, metric)},
    )


def test_a_file_that_stands_for_its_network_has_no_problem() -> None:
    assert problems(parity(), TOLERANCES["fp32"]) == []
    assert problems(parity(metric=0.75), TOLERANCES["fp32"]) == []  # better is no problem
    assert problems(parity(weak=0, metric=0.696), TOLERANCES["int8"]) == []


def test_each_kind_of_loss_is_a_problem() -> None:
    for bad, text in [
        (parity(shown=98), "98 of 100 objects of score 0.5 or more are found, wanted 99.0%"),
        (parity(weak=98), "98 of 100 objects of score 0.05 or more are the same, wanted 99.0%"),
        (parity(pixels=0.99), "99.00% of the pixels are the same, wanted 99.90%"),
        (parity(metric=0.69), "mIoU falls from 70.00 to 69.00, by more than 0.1 points"),
    ]:
        assert problems(bad, TOLERANCES["fp32"]) == [text]
    assert problems(parity(metric=0.694), TOLERANCES["int8"]) == [
        "mIoU falls from 70.00 to 69.40, by more than 0.5 points"
    ]


def test_numbers_that_are_none_are_a_problem() -> None:
    bad = Parity(1, (), 1.0, float("nan"))
    assert problems(bad, TOLERANCES["fp32"]) == ["the segmentation logits are not finite"]
