"""Properties of views: image, boxes, labels and map always move together."""

from dataclasses import replace

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from blitznet.classes import IGNORE_INDEX
from blitznet.data.geometry import CropWindow, view_boxes
from blitznet.data.ssd_policy import Augmentation, draw_view
from blitznet.structures import Sample
from reference.augment_in_memory import augment_sample
from resized_sample import view_sample

COLOUR = (250, 10, 200)

# No deadline, because the machine may be busy.
laws = settings(deadline=None, max_examples=60)


@st.composite
def views(draw: st.DrawFn) -> tuple[int, int, CropWindow]:
    """Width and height of an image and any view that training may take of it."""
    width, height = draw(st.integers(8, 60)), draw(st.integers(8, 60))
    x1, y1 = draw(st.floats(-3, 0.9)) * width, draw(st.floats(-3, 0.9)) * height
    view_width, view_height = draw(st.floats(0.1, 5)) * width, draw(st.floats(0.1, 5)) * height
    return width, height, CropWindow(x1, y1, x1 + view_width, y1 + view_height, draw(st.booleans()))


@st.composite
def samples(draw: st.DrawFn) -> Sample:
    """Any image, with 0 to 5 boxes that may reach its edges, or without labels."""
    width, height = draw(st.integers(1, 60)), draw(st.integers(1, 60))
    rng = np.random.default_rng(draw(st.integers(0, 2**32)))
    count = draw(st.integers(0, 5))
    x, y = rng.uniform(0, width, (count, 2)), rng.uniform(0, height, (count, 2))
    boxes = np.stack((x.min(axis=1), y.min(axis=1), x.max(axis=1), y.max(axis=1)), axis=1)
    has_boxes = draw(st.booleans())
    seg_map = rng.integers(0, 21, (height, width), np.uint8) if draw(st.booleans()) else None
    return Sample(
        image=rng.integers(0, 256, (height, width, 3), np.uint8),
        boxes=boxes.astype(np.float32) if has_boxes else None,
        labels=np.arange(1, count + 1) if has_boxes else np.zeros(0, np.int64),
        difficult=rng.random(count) < 0.5 if has_boxes else np.zeros(0, bool),
        seg_map=seg_map,
        source="noise",
    )


def box_of(mask: np.ndarray) -> np.ndarray:
    """(4,) xyxy of the pixels of a bool (H, W) mask, which has some."""
    rows, columns = np.flatnonzero(mask.any(axis=1)), np.flatnonzero(mask.any(axis=0))
    return np.array([columns[0], rows[0], columns[-1] + 1, rows[-1] + 1])


@laws
@given(views(), st.data(), st.integers(16, 70))
def test_the_box_of_the_moved_map_is_the_moved_box(
    drawn: tuple[int, int, CropWindow], data: st.DataObject, size: int
) -> None:
    width, height, view = drawn
    x1, y1 = data.draw(st.integers(0, width - 1)), data.draw(st.integers(0, height - 1))
    x2, y2 = data.draw(st.integers(x1 + 1, width)), data.draw(st.integers(y1 + 1, height))
    seg_map = np.zeros((height, width), np.uint8)
    seg_map[y1:y2, x1:x2] = 7
    image = np.zeros((height, width, 3), np.uint8)
    image[y1:y2, x1:x2] = COLOUR
    box = np.array([[x1, y1, x2, y2]], np.float32)
    sample = Sample(image, box, np.array([7]), np.array([False]), seg_map, "rectangle")

    result = view_sample(sample, view, size)
    (moved,) = view_boxes(box, view, size)
    shown = result.seg_map == 7
    if (moved[2:] - moved[:2]).min() > 2:  # smaller ones may fall between the pixels
        # Half a pixel from rounding to the nearest, up to one at the image's padded edge.
        np.testing.assert_allclose(box_of(shown), moved, atol=1 + 1e-4)
    if (moved[2:] - moved[:2]).min() == 0:
        assert not shown.any()
    # The image shows the rectangle where the map does, blurred by up to a source pixel.
    blur = max(size / view.width, size / view.height, 1) + 1
    y, x = np.mgrid[:size, :size] + 0.5
    is_deep = np.minimum.reduce([x - moved[0], y - moved[1], moved[2] - x, moved[3] - y]) > blur
    is_shown = result.seg_map != IGNORE_INDEX
    expected = np.broadcast_to(np.array(COLOUR), (size, size, 3))
    np.testing.assert_array_equal(result.image[is_deep & is_shown], expected[is_deep & is_shown])


@laws
@given(views(), st.integers(1, 70))
def test_void_in_the_map_is_where_the_image_is_filled(
    drawn: tuple[int, int, CropWindow], size: int
) -> None:
    width, height, view = drawn
    image = np.zeros((height, width, 3), np.uint8)  # the filling is not black
    sample = Sample(
        image, None, np.zeros(0, np.int64), np.zeros(0, bool), image[..., 0].copy(), "black"
    )
    result = view_sample(sample, view, size)
    np.testing.assert_array_equal(result.seg_map == IGNORE_INDEX, result.image.any(axis=2))


@laws
@given(samples(), st.integers(0, 2**32), st.integers(8, 70))
def test_augmented_boxes_are_inside_upright_and_not_small(
    sample: Sample, seed: int, size: int
) -> None:
    result = augment_sample(sample, size, Augmentation(), np.random.default_rng(seed))
    assert result.image.shape == (size, size, 3)
    assert (result.boxes is None) == (sample.boxes is None)
    assert (result.seg_map is None) == (sample.seg_map is None)
    if result.boxes is not None:
        assert np.isfinite(result.boxes).all()
        assert (result.boxes >= 0).all()
        assert (result.boxes <= size).all()
        assert (result.boxes[:, 2:] - result.boxes[:, :2] > 2 - 1e-5).all()
    if result.seg_map is not None and sample.seg_map is not None:
        assert set(np.unique(result.seg_map)) <= {*np.unique(sample.seg_map), IGNORE_INDEX}


@laws
@given(samples(), st.integers(0, 2**32), st.integers(8, 70))
def test_labels_and_difficult_stay_aligned_with_their_boxes(
    sample: Sample, seed: int, size: int
) -> None:
    result = augment_sample(sample, size, Augmentation(), np.random.default_rng(seed))
    if result.boxes is None or sample.boxes is None:
        assert len(result.labels) == len(result.difficult) == 0
        return
    # Labels of `samples` count the boxes, so that they tell where a box came from.
    view = draw_view(sample.size, sample.boxes, Augmentation(), np.random.default_rng(seed))
    origin = result.labels - 1
    np.testing.assert_array_equal(result.boxes, view_boxes(sample.boxes[origin], view, size))
    np.testing.assert_array_equal(result.difficult, sample.difficult[origin])
    assert (np.diff(origin) > 0).all()


@laws
@given(samples(), st.integers(2, 40))
def test_mirroring_the_sample_and_mirroring_the_view_are_the_same(
    sample: Sample, size: int
) -> None:
    width, height = sample.size
    mirrored = replace(
        sample,
        image=sample.image[:, ::-1],
        seg_map=None if sample.seg_map is None else sample.seg_map[:, ::-1],
        boxes=None
        if sample.boxes is None
        else np.stack(
            (
                width - sample.boxes[:, 2],
                sample.boxes[:, 1],
                width - sample.boxes[:, 0],
                sample.boxes[:, 3],
            ),
            axis=1,
        ),
    )
    whole = CropWindow(0, 0, width, height)
    a = view_sample(mirrored, whole, size)
    b = view_sample(sample, replace(whole, flip=True), size)
    # The sums of a mirrored row are taken in another order, and rounded to eight bits twice.
    np.testing.assert_allclose(a.image.astype(int), b.image, atol=1)
    if a.boxes is not None and b.boxes is not None:
        np.testing.assert_allclose(a.boxes, b.boxes, atol=1e-4)
        np.testing.assert_array_equal(a.labels, b.labels)
