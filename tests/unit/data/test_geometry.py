"""Views: exact placement on images small enough to write down, and slow twins on others."""

import copy
from dataclasses import replace

import numpy as np
import pytest
from PIL import Image

from blitznet.classes import IGNORE_INDEX
from blitznet.data.geometry import (
    FILL_COLOUR,
    CropWindow,
    has_centre_inside,
    view_boxes,
)
from blitznet.structures import Sample
from reference.resample_loops import bilinear_view, nearest_view
from resized_sample import resize_sample, view_sample

WIDTH, HEIGHT = 23, 17

VIEWS = {
    "whole": CropWindow(0, 0, 23, 17),
    "whole, mirrored": CropWindow(0, 0, 23, 17, flip=True),
    "crop of whole pixels": CropWindow(4, 3, 16, 15),
    "crop between pixels": CropWindow(3.37, 2.71, 15.13, 9.94),
    "crop of a corner, mirrored": CropWindow(14.5, 8.2, 23, 17, flip=True),
    "crop within a pixel": CropWindow(7.2, 5.1, 7.9, 5.8),
    "zoom-out": CropWindow(-20.5, -3.25, 25.5, 30.75),
    "zoom-out, mirrored": CropWindow(-20.5, -3.25, 25.5, 30.75, flip=True),
    "far zoom-out": CropWindow(-40, -30, 52, 38),
    "crop of a zoomed-out canvas": CropWindow(-6.4, 9.1, 11.3, 29.6),
    "beyond the image": CropWindow(30, 2, 40, 12),
}


@pytest.fixture
def sample() -> Sample:
    rng = np.random.default_rng(7)
    return Sample(
        image=rng.integers(0, 256, (HEIGHT, WIDTH, 3), np.uint8),
        boxes=np.array([[2, 3, 10, 9], [12, 1, 22, 16], [0, 0, 23, 17]], np.float32),
        labels=np.array([4, 5, 6]),
        difficult=np.array([False, True, False]),
        seg_map=rng.integers(0, 21, (HEIGHT, WIDTH), np.uint8),
        source="noise",
    )


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
@pytest.mark.parametrize("size", [12, 40])
def test_the_map_equals_a_loop_over_its_pixels(sample: Sample, view: CropWindow, size: int) -> None:
    expected = nearest_view(sample.seg_map, view, size, IGNORE_INDEX)
    np.testing.assert_array_equal(view_sample(sample, view, size).seg_map, expected)


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
@pytest.mark.parametrize("size", [12, 40])
def test_the_image_equals_a_loop_over_its_pixels(
    sample: Sample, view: CropWindow, size: int
) -> None:
    expected = bilinear_view(sample.image, view, size, FILL_COLOUR)
    # Pillow rounds to eight bits after each of the two axes.
    np.testing.assert_allclose(view_sample(sample, view, size).image, expected, atol=1.01)


@pytest.mark.parametrize("size", [12, 40])
def test_the_whole_image_is_resized_as_pillow_does(sample: Sample, size: int) -> None:
    expected = Image.fromarray(sample.image).resize((size, size), Image.Resampling.BILINEAR)
    np.testing.assert_array_equal(resize_sample(sample, size).image, np.asarray(expected))


def test_zooming_out_puts_the_image_where_the_view_says(sample: Sample) -> None:
    result = view_sample(sample, CropWindow(-5, -2, 35, 38), 40)  # one pixel stays one pixel
    expected = np.empty((40, 40, 3), np.uint8)
    expected[:] = FILL_COLOUR
    expected[2 : 2 + HEIGHT, 5 : 5 + WIDTH] = sample.image
    np.testing.assert_array_equal(result.image, expected)
    expected_map = np.full((40, 40), IGNORE_INDEX)
    expected_map[2 : 2 + HEIGHT, 5 : 5 + WIDTH] = sample.seg_map
    np.testing.assert_array_equal(result.seg_map, expected_map)
    assert result.boxes.tolist() == [[7, 5, 15, 11], [17, 3, 27, 18], [5, 2, 28, 19]]


def test_a_crop_of_whole_pixels_is_a_slice(sample: Sample) -> None:
    result = view_sample(sample, CropWindow(4, 3, 16, 15), 12)
    np.testing.assert_array_equal(result.image, sample.image[3:15, 4:16])
    np.testing.assert_array_equal(result.seg_map, sample.seg_map[3:15, 4:16])


def test_zooming_out_and_cropping_to_the_image_changes_nothing(sample: Sample) -> None:
    square = view_sample(sample, CropWindow(4, 3, 16, 15), 12)
    canvas = view_sample(square, CropWindow(-9, -6, 27, 30), 36)
    back = view_sample(canvas, CropWindow(9, 6, 21, 18), 12)
    assert_same(back, square)


@pytest.mark.parametrize("view", VIEWS.values(), ids=VIEWS)
def test_a_mirrored_view_is_the_view_mirrored(sample: Sample, view: CropWindow) -> None:
    plain = view_sample(sample, replace(view, flip=False), 20)
    mirrored = view_sample(sample, replace(view, flip=True), 20)
    np.testing.assert_array_equal(mirrored.image, plain.image[:, ::-1])
    np.testing.assert_array_equal(mirrored.seg_map, plain.seg_map[:, ::-1])


def test_boxes_are_scaled_by_axis_moved_and_clipped() -> None:
    boxes = np.array([[12, 30, 20, 50], [5, 10, 35, 70], [10, 20, 30, 60]], np.float32)
    moved = view_boxes(boxes, CropWindow(10, 20, 30, 60), size=40)  # twice as wide, as high
    assert moved.tolist() == [[4, 10, 20, 30], [0, 0, 40, 40], [0, 0, 40, 40]]
    assert moved.dtype == np.float32


def test_boxes_are_mirrored_with_their_left_and_right_exchanged() -> None:
    boxes = np.array([[12, 30, 20, 50], [5, 10, 15, 30]], np.float32)
    moved = view_boxes(boxes, CropWindow(10, 20, 30, 60, flip=True), size=40)
    assert moved.tolist() == [[20, 10, 36, 30], [30, 0, 40, 10]]


def test_a_box_stays_if_its_centre_is_inside_and_not_on_the_border() -> None:
    view = CropWindow(10, 10, 20, 20)
    centres = [(15, 15), (10.5, 19.5), (10, 15), (15, 20), (9, 15), (15, 21)]
    boxes = np.array([[x - 4, y - 4, x + 4, y + 4] for x, y in centres], np.float32)
    assert has_centre_inside(boxes, view).tolist() == [True, True, False, False, False, False]


def test_labels_and_difficult_stay_with_their_boxes(sample: Sample) -> None:
    result = view_sample(sample, CropWindow(11, 0, 23, 17), 24)  # the first centre is outside
    assert result.boxes.shape == (2, 4)
    assert result.labels.tolist() == [5, 6]
    assert result.difficult.tolist() == [True, False]


def test_boxes_up_to_the_least_side_are_dropped(sample: Sample) -> None:
    boxes = np.array([[1, 1, 3, 9], [1, 1, 3.5, 9], [1, 1, 9, 3], [1, 1, 9, 3.5]], np.float32)
    four = replace(sample, boxes=boxes, labels=np.arange(1, 5), difficult=np.zeros(4, bool))
    result = view_sample(four, CropWindow(0, 0, 20, 20), 20, min_box_side=2)
    assert result.labels.tolist() == [2, 4]


def test_boxes_without_area_are_always_dropped(sample: Sample) -> None:
    boxes = np.array([[3, 3, 3, 9], [3, 3, 9, 9]], np.float32)
    two = replace(sample, boxes=boxes, labels=np.array([1, 2]), difficult=np.zeros(2, bool))
    assert resize_sample(two, 30).labels.tolist() == [2]


def test_beyond_the_image_there_is_only_filling(sample: Sample) -> None:
    result = view_sample(sample, VIEWS["beyond the image"], 8)
    assert (result.image == FILL_COLOUR).all()
    assert (result.seg_map == IGNORE_INDEX).all()
    assert result.boxes.shape == (0, 4)


def test_what_is_not_labelled_stays_not_labelled(sample: Sample) -> None:
    bare = replace(sample, boxes=None, seg_map=None, labels=np.zeros(0, np.int64))
    result = view_sample(bare, VIEWS["zoom-out"], 16)
    assert result.boxes is None
    assert result.seg_map is None


def test_an_image_without_objects_keeps_its_empty_boxes(sample: Sample) -> None:
    empty = replace(
        sample,
        boxes=np.zeros((0, 4), np.float32),
        labels=np.zeros(0, np.int64),
        difficult=np.zeros(0, bool),
    )
    result = view_sample(empty, VIEWS["zoom-out"], 16, min_box_side=2)
    assert result.boxes.shape == (0, 4)


def test_an_image_of_one_pixel_fills_the_whole_result() -> None:
    one = Sample(
        image=np.array([[[10, 20, 30]]], np.uint8),
        boxes=np.array([[0, 0, 1, 1]], np.float32),
        labels=np.array([1]),
        difficult=np.array([False]),
        seg_map=np.array([[3]], np.uint8),
        source="",
    )
    result = resize_sample(one, 8)
    assert (result.image == (10, 20, 30)).all()
    assert (result.seg_map == 3).all()
    assert result.boxes.tolist() == [[0, 0, 8, 8]]


def test_the_given_sample_is_left_alone(sample: Sample) -> None:
    before = copy.deepcopy(sample)
    result = resize_sample(sample, 40)
    assert not np.shares_memory(result.image, sample.image)
    result.boxes[:] = 0
    assert_same(sample, before)


def assert_same(a: Sample, b: Sample) -> None:
    np.testing.assert_array_equal(a.image, b.image)
    np.testing.assert_array_equal(a.seg_map, b.seg_map)
    np.testing.assert_array_equal(a.boxes, b.boxes)
    np.testing.assert_array_equal(a.labels, b.labels)
    np.testing.assert_array_equal(a.difficult, b.difficult)
