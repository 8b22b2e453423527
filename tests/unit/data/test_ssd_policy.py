"""Random draws stay within SSD's limits, and samples match the draws."""

from dataclasses import replace

import numpy as np
import pytest
from pydantic import ValidationError

from blitznet.data import ssd_policy
from blitznet.data.geometry import CropWindow
from blitznet.data.ssd_policy import (
    Augmentation,
    draw_empty_crop,
    draw_iou_crop,
    draw_view,
    draw_zoom_out,
)
from blitznet.structures import Sample
from reference.augment_in_memory import augment_sample
from reference.iou_loops import box_iou
from reference.ssd_policy_loops import draw_view_slowly
from reference.view_figures import random_images
from resized_sample import view_sample

WHOLE = CropWindow(0, 0, 60, 40)
LARGE_BOX = np.array([[10, 5, 55, 35]], np.float32)
NO_BOXES = np.zeros((0, 4), np.float32)


@pytest.fixture
def sample() -> Sample:
    rng = np.random.default_rng(0)
    return Sample(
        image=rng.integers(0, 256, (40, 60, 3), np.uint8),
        boxes=LARGE_BOX,
        labels=np.array([3]),
        difficult=np.array([False]),
        seg_map=rng.integers(0, 21, (40, 60), np.uint8),
        source="noise",
    )


def generators(count: int) -> list[np.random.Generator]:
    return [np.random.default_rng(seed) for seed in range(count)]


def corners(view: CropWindow) -> tuple[float, float, float, float]:
    return view.x1, view.y1, view.x2, view.y2


def contains(outer: CropWindow, inner: CropWindow) -> bool:
    # Sums of random fractions may exceed the limit by a rounding error.
    return (
        outer.x1 <= inner.x1
        and outer.y1 <= inner.y1
        and inner.x2 <= outer.x2 + 1e-9
        and inner.y2 <= outer.y2 + 1e-9
    )


def test_zooming_out_keeps_the_aspect_and_all_of_the_image() -> None:
    ratios = []
    for rng in generators(200):
        canvas = draw_zoom_out(WHOLE, 4, rng)
        assert contains(canvas, WHOLE)
        assert canvas.width / canvas.height == pytest.approx(1.5)
        ratios.append(canvas.width / WHOLE.width)
    assert 1 <= min(ratios) < 1.1
    assert 3.9 < max(ratios) <= 4


def test_zooming_out_by_at_most_1_is_the_image_itself() -> None:
    assert draw_zoom_out(WHOLE, 1, np.random.default_rng(0)) == WHOLE


def test_a_crop_keeps_to_the_limits_of_area_and_aspect() -> None:
    crops = [draw_iou_crop(WHOLE, None, rng) for rng in generators(400)]
    whole = [crop for crop in crops if crop == WHOLE]
    others = [crop for crop in crops if crop != WHOLE]
    # One choice of seven is "no crop": 57 expected, and 4 standard deviations are 28.
    assert 29 <= len(whole) <= 85
    areas = [crop.width * crop.height / (60 * 40) for crop in others]
    aspects = [crop.width / crop.height for crop in others]
    assert all(contains(WHOLE, crop) for crop in others)
    assert 0.3 <= min(areas) < 0.35
    assert 0.9 < max(areas) <= 1
    assert 0.5 <= min(aspects) < 0.6
    assert 1.9 < max(aspects) <= 2 + 1e-9


@pytest.mark.parametrize("min_overlap", [0.0, 0.1, 0.3, 0.5, 0.7, 0.9])
def test_a_crop_reaches_the_drawn_overlap_with_an_object_whose_centre_it_holds(
    min_overlap: float, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssd_policy, "MIN_OVERLAPS", (min_overlap,))
    boxes = np.concatenate((LARGE_BOX, [[0, 0, 8, 8]])).astype(np.float32)
    for rng in generators(30):
        crop = draw_iou_crop(WHOLE, boxes, rng)
        held = [
            box_iou(corners(crop), box)
            for box in boxes.astype(float)
            if crop.x1 < (box[0] + box[2]) / 2 < crop.x2
            and crop.y1 < (box[1] + box[3]) / 2 < crop.y2
        ]
        assert max(held) >= min_overlap - 1e-6


def test_views_equal_those_of_a_loop_over_trials() -> None:
    images = random_images(30)
    for seed, (size, boxes) in enumerate(images):
        for number in range(4):
            one, other = (np.random.default_rng((seed, number)) for _ in range(2))
            view = draw_view(size, boxes, Augmentation(), one)
            _, expected = draw_view_slowly(size, boxes, other)
            assert corners(view) == corners(expected)
            assert view.flip == (other.random() < 0.5)  # as many draws were taken


def test_an_object_that_no_crop_can_overlap_enough_does_not_go_on_for_ever() -> None:
    speck = np.array([[30, 20, 30.5, 20.5]], np.float32)
    for rng in generators(40):
        crop = draw_iou_crop(WHOLE, speck, rng)
        assert crop == WHOLE or (crop.x1 < 30.25 < crop.x2 and crop.y1 < 20.25 < crop.y2)


def test_an_empty_crop_touches_no_box() -> None:
    boxes = np.array([[10, 10, 30, 30], [50, 0, 60, 40]], np.float32)
    crops = [draw_empty_crop(WHOLE, boxes, rng) for rng in generators(100)]
    found = [corners(crop) for crop in crops if crop is not None]
    assert len(found) > 50
    assert max(box_iou(crop, box) for crop in found for box in boxes.astype(float)) == 0
    assert all(contains(WHOLE, crop) for crop in crops if crop is not None)


def test_there_is_no_empty_crop_where_objects_cover_the_image_or_are_not_labelled() -> None:
    everything = np.array([[0, 0, WHOLE.x2, WHOLE.y2]], np.float32)
    for boxes in (everything, None):
        assert draw_empty_crop(WHOLE, boxes, np.random.default_rng(0)) is None


def test_a_sample_is_an_empty_crop_as_often_as_asked() -> None:
    boxes = np.array([[0, 0, 20, 20]], np.float32)
    augmentation = Augmentation(empty_probability=0.3, zoom_out_probability=0)
    size = int(WHOLE.x2), int(WHOLE.y2)
    views = [draw_view(size, boxes, augmentation, rng) for rng in generators(400)]
    # An ordinary view always shows the only object, or all that there is.
    is_empty = [box_iou(corners(view), boxes[0].astype(float)) == 0 for view in views]
    assert np.mean(is_empty) == pytest.approx(0.3, abs=0.06)


@pytest.mark.parametrize("boxes", [None, NO_BOXES], ids=["not labelled", "no objects"])
def test_without_objects_the_first_crop_that_fits_is_taken(
    boxes: np.ndarray | None, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ssd_policy, "MIN_OVERLAPS", (0.9,))
    crop = draw_iou_crop(WHOLE, boxes, np.random.default_rng(0))
    assert contains(WHOLE, crop)
    assert crop != WHOLE


def test_the_probability_of_zooming_out_is_kept() -> None:
    def is_beyond(probability: float, rng: np.random.Generator) -> bool:
        augmentation = Augmentation(zoom_out_probability=probability)
        return not contains(WHOLE, draw_view((60, 40), NO_BOXES, augmentation, rng))

    assert not any(is_beyond(0, rng) for rng in generators(100))
    assert sum(is_beyond(1, rng) for rng in generators(100)) > 70  # a crop may lie all inside


def test_half_of_the_views_are_mirrored() -> None:
    views = [draw_view((60, 40), LARGE_BOX, Augmentation(), rng) for rng in generators(400)]
    assert 160 <= sum(view.flip for view in views) <= 240  # 4 standard deviations


def test_the_drawn_view_is_what_is_shown(sample: Sample) -> None:
    augmentation = Augmentation(photometric=False)
    for seed in range(20):
        view = draw_view(sample.size, sample.boxes, augmentation, np.random.default_rng(seed))
        expected = view_sample(sample, view, 32, min_box_side=2)
        result = augment_sample(sample, 32, augmentation, np.random.default_rng(seed))
        np.testing.assert_array_equal(result.image, expected.image)
        np.testing.assert_array_equal(result.seg_map, expected.seg_map)
        np.testing.assert_array_equal(result.boxes, expected.boxes)
        np.testing.assert_array_equal(result.labels, expected.labels)


def test_colours_change_without_moving_anything(sample: Sample) -> None:
    changed = 0
    for seed in range(20):
        plain, coloured = (
            augment_sample(
                sample, 32, Augmentation(photometric=photometric), np.random.default_rng(seed)
            )
            for photometric in (False, True)
        )
        np.testing.assert_array_equal(coloured.seg_map, plain.seg_map)
        np.testing.assert_array_equal(coloured.boxes, plain.boxes)
        changed += not np.array_equal(coloured.image, plain.image)
    assert changed == 20


def test_boxes_under_two_pixels_of_the_input_are_dropped(sample: Sample) -> None:
    augmentation = Augmentation(zoom_out_probability=1, zoom_out_max=4, photometric=False)
    small = replace(sample, boxes=np.array([[20, 10, 26, 16]], np.float32))
    sides, dropped = [], 0
    for rng in generators(100):
        boxes = augment_sample(small, 32, augmentation, rng).boxes
        dropped += len(boxes) == 0
        sides.extend((boxes[:, 2:] - boxes[:, :2]).min(axis=1))
    assert dropped > 0
    assert 2 < min(sides) < 2.3


def test_an_image_with_a_map_alone_is_augmented_too(sample: Sample) -> None:
    bare = replace(sample, boxes=None, labels=np.zeros(0, np.int64), difficult=np.zeros(0, bool))
    for rng in generators(20):
        result = augment_sample(bare, 32, Augmentation(), rng)
        assert result.boxes is None
        assert result.seg_map.shape == (32, 32)


def test_the_same_generator_gives_the_same_sample_and_leaves_the_given_one_alone(
    sample: Sample,
) -> None:
    image = sample.image.copy()
    one = augment_sample(sample, 32, Augmentation(), np.random.default_rng(5))
    other = augment_sample(sample, 32, Augmentation(), np.random.default_rng(5))
    np.testing.assert_array_equal(one.image, other.image)
    np.testing.assert_array_equal(one.boxes, other.boxes)
    np.testing.assert_array_equal(sample.image, image)


@pytest.mark.parametrize(
    "values",
    [{"zoom_out_probability": 1.1}, {"zoom_out_max": 0.5}, {"zoom_out": 2}],
)
def test_strengths_that_make_no_sense_are_refused(values: dict[str, float]) -> None:
    with pytest.raises(ValidationError, match=next(iter(values))):
        Augmentation.model_validate(values)
