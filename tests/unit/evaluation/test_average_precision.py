from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from blitznet.detections import Detections
from blitznet.evaluation.average_precision import AveragePrecision, TrueBoxes, area_ap
from reference.voc_ap_devkit import Image, evaluate_class
from reference.voc_ap_devkit import make_image as image

A, B = (0, 0, 10, 10), (20, 20, 40, 30)
FAR = (80, 80, 90, 90)


def metric_of(images: Sequence[Image]) -> AveragePrecision:
    metric = AveragePrecision(num_classes=4)
    for each in images:
        metric.update(Detections(*each[:3]), TrueBoxes(*each[3:]))
    return metric


def evaluate(*images: Image) -> dict[str, list[float | None]]:
    return metric_of(images).compute()


def assert_ap_of_class_1(result: dict[str, list[float | None]], voc07: float, voc12: float) -> None:
    assert result["voc07"][1] == pytest.approx(voc07, abs=1e-12)
    assert result["voc12"][1] == pytest.approx(voc12, abs=1e-12)


def test_the_area_under_the_curves_is_the_average_precision(images: list[Image]) -> None:
    metric = metric_of(images)
    areas = {label: area_ap(*curve[:2]) for label, curve in metric.curves().items()}
    computed = metric.compute()["voc12"]
    assert areas == {label: ap for label, ap in enumerate(computed) if ap is not None}
    for recall, precision, _ in metric.curves().values():
        assert (np.diff(recall) >= 0).all()
        assert ((precision >= 0) & (precision <= 1)).all()


def test_hit_miss_hit_of_three_boxes_gives_the_ap_worked_out_by_hand() -> None:
    result = evaluate(
        image(
            [(A, 1, 0.9), (FAR, 1, 0.8), (B, 1, 0.7)],
            [(A, 1, False), (B, 1, False), ((50, 0, 60, 9), 1, False)],
        )
    )
    # Recall 1/3, 1/3, 2/3 at precision 1, 1/2, 2/3: four points at 1, three at 2/3, four at 0.
    assert_ap_of_class_1(result, voc07=6 / 11, voc12=5 / 9)


def test_the_envelope_lifts_precision_to_the_best_one_at_higher_recall() -> None:
    result = evaluate(
        image([(FAR, 1, 0.9), (A, 1, 0.8), (B, 1, 0.7)], [(A, 1, False), (B, 1, False)])
    )
    assert_ap_of_class_1(result, voc07=2 / 3, voc12=2 / 3)


def test_recall_of_exactly_three_tenths_reaches_the_point_at_three_tenths() -> None:
    truth = [((20.0 * i, 0.0, 20.0 * i + 10, 10.0), 1, False) for i in range(10)]
    result = evaluate(image([(box, 1, 0.9) for box, _, _ in truth[:3]], truth))
    assert_ap_of_class_1(result, voc07=4 / 11, voc12=3 / 10)


def test_iou_of_exactly_one_half_matches_and_less_does_not() -> None:
    assert_ap_of_class_1(evaluate(image([((0, 0, 10, 20), 1, 1)], [(A, 1, False)])), 1, 1)
    assert_ap_of_class_1(evaluate(image([((0, 0, 10, 20.1), 1, 1)], [(A, 1, False)])), 0, 0)


def test_second_detection_of_a_box_is_a_false_positive() -> None:
    result = evaluate(
        image([(A, 1, 0.9), (A, 1, 0.8), (B, 1, 0.7)], [(A, 1, False), (B, 1, False)])
    )
    assert_ap_of_class_1(result, voc07=28 / 33, voc12=5 / 6)


def test_detection_whose_best_box_is_claimed_does_not_fall_back_to_the_second_best() -> None:
    # (0, 0, 10, 11) has IoU 10/11 with A and 11/16 with the taller box, which nobody finds.
    result = evaluate(
        image([(A, 1, 0.9), ((0, 0, 10, 11), 1, 0.8)], [(A, 1, False), ((0, 0, 10, 16), 1, False)])
    )
    assert_ap_of_class_1(result, voc07=6 / 11, voc12=1 / 2)


def test_best_score_claims_the_box_whatever_the_order_within_the_image() -> None:
    result = evaluate(image([((0, 0, 10, 9), 1, 0.2), (A, 1, 0.9)], [(A, 1, False)]))
    assert_ap_of_class_1(result, voc07=1, voc12=1)


def test_difficult_box_neither_helps_nor_hurts() -> None:
    plain = image([(A, 1, 0.5)], [(A, 1, False)])
    missed = image([(A, 1, 0.5)], [(A, 1, False), (B, 1, True)])
    found_twice = image([(A, 1, 0.5), (B, 1, 0.9), (B, 1, 0.8)], [(A, 1, False), (B, 1, True)])
    assert evaluate(plain) == evaluate(missed) == evaluate(found_twice)
    assert_ap_of_class_1(evaluate(plain), voc07=1, voc12=1)


def test_only_detections_of_difficult_boxes_give_zero_and_not_nan() -> None:
    result = evaluate(image([(B, 1, 0.9)], [(A, 1, False), (B, 1, True)]))
    assert_ap_of_class_1(result, voc07=0, voc12=0)


def test_box_of_another_class_or_image_does_not_match() -> None:
    result = evaluate(image([(A, 2, 0.9)], [(A, 1, False)]), image([(A, 1, 0.9)], [(B, 2, False)]))
    assert result["voc07"] == result["voc12"] == [None, 0, 0, None]


@pytest.mark.parametrize("difficult_only", [False, True])
def test_class_without_ground_truth_that_counts_is_none(difficult_only: bool) -> None:
    truth = [(A, 1, True)] if difficult_only else []
    result = evaluate(image([(A, 1, 0.9)], truth))
    assert result["voc07"] == result["voc12"] == [None, None, None, None]


def test_no_images_at_all_leave_every_class_none() -> None:
    assert evaluate() == {"voc07": [None] * 4, "voc12": [None] * 4}


def test_no_detections_give_zero() -> None:
    assert_ap_of_class_1(evaluate(image([], [(A, 1, False)])), voc07=0, voc12=0)


def test_equal_scores_rank_in_order_of_update() -> None:
    hit, stray = image([(A, 1, 0.5)], [(A, 1, False)]), image([(A, 1, 0.5)], [])
    assert_ap_of_class_1(evaluate(hit, stray), voc07=1, voc12=1)
    assert_ap_of_class_1(evaluate(stray, hit), voc07=1 / 2, voc12=1 / 2)


def test_perfect_prediction_gives_one(images: list[Image]) -> None:
    perfect = [
        each._replace(
            boxes=each.true_boxes, labels=each.true_labels, scores=np.ones(len(each.true_labels))
        )
        for each in images
    ]
    # Recall is summed up in steps of 1 / G, hence the rounding.
    assert evaluate(*perfect)["voc07"][1:] == pytest.approx([1, 1, 1], abs=1e-12)
    assert evaluate(*perfect)["voc12"][1:] == pytest.approx([1, 1, 1], abs=1e-12)


def test_permuting_images_changes_nothing(images: list[Image]) -> None:
    order = np.random.default_rng(0).permutation(len(images))
    assert evaluate(*(images[i] for i in order)) == evaluate(*images)


def assert_equals_the_devkit(images: list[Image]) -> None:
    result = evaluate(*images)
    for label in range(4):
        expected = evaluate_class(images, label)
        if expected is None:
            assert result["voc07"][label] is result["voc12"][label] is None
        else:
            # Both sum the same fractions, in another order.
            assert result["voc07"][label] == pytest.approx(expected[0], abs=1e-12)
            assert result["voc12"][label] == pytest.approx(expected[1], abs=1e-12)


def test_ap_equals_the_devkit_on_a_plausible_detector(images: list[Image]) -> None:
    assert_equals_the_devkit(images)


# On a grid of 4 x 4 nearly every case is a border case: duplicates, IoU of exactly 1/2, ties of
# scores and of overlaps, difficult boxes on top of others, boxes without area.
grid_boxes = st.tuples(*[st.integers(0, 2)] * 2, *[st.integers(2, 4)] * 2)
grid_labels = st.integers(1, 2)
grid_images = st.builds(
    image,
    st.lists(st.tuples(grid_boxes, grid_labels, st.sampled_from([0.2, 0.5, 0.9])), max_size=6),
    st.lists(st.tuples(grid_boxes, grid_labels, st.booleans()), max_size=4),
)


@settings(deadline=None)
@given(st.lists(grid_images, max_size=4))
def test_ap_equals_the_devkit_on_border_cases(images: list[Image]) -> None:
    assert_equals_the_devkit(images)


def test_a_box_to_ignore_without_a_class_absorbs_detections_of_any_class() -> None:
    """An object of an ignored class: AP does not depend on the order of the classes."""
    riders = image([(A, 1, 0.9), (A, 2, 0.85), (B, 2, 0.8)], [(A, -1, True), (B, 2, False)])
    hit = image([(A, 1, 0.5)], [(A, 1, False)])
    result = evaluate(riders, hit)
    assert result["voc12"] == [None, 1, 1, None]
    # A box of the class itself comes first, and what overlaps nothing is wrong as ever.
    both = image([(A, 1, 0.9), (FAR, 1, 0.8)], [(A, -1, True), (A, 1, False), (B, 1, False)])
    assert evaluate(both)["voc12"][1] == pytest.approx(1 / 2)
