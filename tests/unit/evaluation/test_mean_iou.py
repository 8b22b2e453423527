import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from blitznet.evaluation.mean_iou import class_iou, pixel_confusion
from reference import iou_loops


def evaluate(*pairs: tuple[np.ndarray, np.ndarray], num_classes: int = 3) -> list[float | None]:
    """IoU of (predicted, true) pairs of maps."""
    confusion = np.zeros((num_classes, num_classes), np.int64)
    return class_iou(sum((pixel_confusion(*pair, num_classes) for pair in pairs), confusion))


def seg_map(*rows: list[int]) -> np.ndarray:
    return np.array(rows, dtype=np.uint8)


def test_iou_of_a_two_by_three_map_is_the_one_worked_out_by_hand() -> None:
    predicted = seg_map([0, 0, 1], [1, 1, 1])
    true = seg_map([0, 1, 1], [1, 0, 2])
    # Background: 1 of 3 pixels. Class 1: 2 of 5. Class 2: 0 of 1.
    assert evaluate((predicted, true)) == [1 / 3, 2 / 5, 0]


def test_pixels_of_all_images_are_counted_together() -> None:
    small = seg_map([1]), seg_map([1])
    large = seg_map([0, 0, 0]), seg_map([1, 1, 1])
    assert evaluate(small, large) == [None, 1 / 4, None]


def test_prediction_on_void_pixels_changes_nothing() -> None:
    true = seg_map([0, 1, 255])
    for predicted in (0, 1, 2, 255):
        assert evaluate((seg_map([0, 1, predicted]), true)) == [1, 1, None]


def test_all_void_or_no_image_leaves_every_class_none() -> None:
    assert evaluate((seg_map([0, 1]), seg_map([255, 255]))) == [None, None, None]
    assert evaluate() == [None, None, None]


def test_class_that_is_only_predicted_is_none_and_costs_the_others() -> None:
    assert evaluate((seg_map([0, 2]), seg_map([0, 0]))) == [1 / 2, None, None]


maps = arrays(np.uint8, (3, 4), elements=st.integers(0, 2))
maps_with_void = arrays(np.uint8, (3, 4), elements=st.sampled_from([0, 1, 2, 255]))


@settings(deadline=None)
@given(st.lists(st.tuples(maps, maps_with_void), min_size=1, max_size=3))
def test_iou_equals_pixel_loops_and_the_order_of_images_is_free(
    pairs: list[tuple[np.ndarray, np.ndarray]],
) -> None:
    predicted, true = zip(*pairs, strict=True)
    assert evaluate(*pairs) == evaluate(*reversed(pairs)) == iou_loops.class_iou(predicted, true, 3)
