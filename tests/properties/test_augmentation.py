"""Properties of the whole path from a file to a training sample, for any random draws."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from blitznet.classes import IGNORE_INDEX, VOC_CLASSES
from blitznet.data.geometry import CropWindow, choose_reduction
from blitznet.data.labels import ClassTable, ImageLabels, ObjectLabel, read_labels
from blitznet.data.seg_map import VOC_CODES, MapFile
from blitznet.data.ssd_policy import Augmentation, draw_view, read_augmented
from blitznet.image import OpenImage, read_image
from blitznet.structures import Sample
from reference.augment_in_memory import augment_sample
from resized_sample import view_sample

laws = settings(deadline=None, max_examples=25)

TABLE = ClassTable(VOC_CLASSES)
PERSON = VOC_CLASSES.index("person")
SIZES = {None: (643, 481), 1: (643, 481), 3: (640, 480), 6: (640, 480), 8: (640, 480)}


@pytest.fixture(scope="module", params=SIZES, ids=lambda value: f"orientation {value}")
def photo(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> ImageLabels:
    """A large JPEG, maybe turned by its EXIF block, with a rectangle, its box and its map."""
    orientation = request.param
    folder = tmp_path_factory.mktemp("photo")
    width, height = SIZES[orientation]
    stored = np.full((height, width, 3), 200, np.uint8)
    is_object = np.zeros((height, width), bool)
    is_object[96:288, 128:448] = True
    stored[is_object] = (20, 90, 30)
    exif = Image.Exif()
    if orientation is not None:
        exif[0x0112] = orientation
    Image.fromarray(stored).save(folder / "a.jpg", quality=95, exif=exif)
    upright = {3: np.rot90(is_object, 2), 6: np.rot90(is_object, -1), 8: np.rot90(is_object)}
    shown = upright.get(orientation, is_object)
    Image.fromarray(np.where(shown, PERSON, 0).astype(np.uint8)).save(folder / "a.png")
    rows, columns = np.flatnonzero(shown.any(axis=1)), np.flatnonzero(shown.any(axis=0))
    box = (float(columns[0]), float(rows[0]), float(columns[-1] + 1), float(rows[-1] + 1))
    return ImageLabels(
        folder / "a.jpg",
        (ObjectLabel("person", box, "a", str(box)),),
        MapFile(folder / "a.png", VOC_CODES),
    )


def whole(photo: ImageLabels) -> Sample:
    image = read_image(photo.path)
    labels = read_labels(photo, image.size, TABLE)
    return Sample(np.asarray(image), *labels, str(photo.path), TABLE.known)


@laws
@given(seed=st.integers(0, 2**32), size=st.integers(16, 320))
def test_box_map_and_image_of_an_object_land_at_one_place(
    photo: ImageLabels, seed: int, size: int
) -> None:
    augmentation = Augmentation(photometric=False)
    result = read_augmented(photo, TABLE, size, augmentation, np.random.default_rng(seed))
    assert np.isfinite(result.boxes).all()
    assert (result.boxes >= 0).all()
    assert (result.boxes <= size).all()
    assert (result.boxes[:, 2:] - result.boxes[:, :2] > 2 - 1e-5).all()
    rows = np.flatnonzero((result.seg_map == PERSON).any(axis=1))
    columns = np.flatnonzero((result.seg_map == PERSON).any(axis=0))
    for box in result.boxes:
        # A pixel: half from rounding to the nearest, up to one at the image's padded edge.
        shown = (columns[0], rows[0], columns[-1] + 1, rows[-1] + 1)
        np.testing.assert_allclose(shown, box, atol=1 + 1e-4)
    # Two pixels off every edge, where nothing is mixed, red tells object from background.
    y, x = np.mgrid[:size, :size]
    red = result.image[..., 0].astype(int)
    for class_id, is_colour in ((PERSON, red < 80), (0, red > 140)):
        inside = result.seg_map == class_id
        for shift in range(-3, 4):
            inside = inside & (np.roll(result.seg_map, shift, 0) == class_id)
            inside = inside & (np.roll(result.seg_map, shift, 1) == class_id)
        inside &= (np.minimum(x, y) >= 3) & (np.maximum(x, y) < size - 3)
        assert is_colour[inside].all()


@laws
@given(seed=st.integers(0, 2**32), size=st.sampled_from([24, 60, 100, 300]))
def test_shrinking_while_decoding_changes_grey_levels_and_nothing_else(
    photo: ImageLabels, seed: int, size: int
) -> None:
    augmentation, sample = Augmentation(photometric=False), whole(photo)
    result = read_augmented(photo, TABLE, size, augmentation, np.random.default_rng(seed))
    expected = augment_sample(sample, size, augmentation, np.random.default_rng(seed))
    view = draw_view(sample.size, sample.boxes, augmentation, np.random.default_rng(seed))
    reduction = choose_reduction(view, size, OpenImage(photo.path).reductions)
    np.testing.assert_array_equal(result.boxes, expected.boxes)
    np.testing.assert_array_equal(result.seg_map, expected.seg_map)
    difference = abs(result.image.astype(int) - expected.image)
    if reduction == 1:
        assert difference.max() == 0
    # Of 180 grey levels that the edges have: at least two pixels are averaged into each.
    assert difference.mean() < 3
    assert difference.max() < 60


@laws
@given(
    st.floats(0.1, 6000), st.floats(0.1, 6000), st.integers(16, 600), st.sampled_from([1, 2, 4, 8])
)
def test_a_shrunk_image_keeps_two_pixels_for_each_of_the_result(
    width: float, height: float, size: int, most: int
) -> None:
    reductions = [reduction for reduction in (1, 2, 4, 8) if reduction <= most]
    chosen = choose_reduction(CropWindow(0, 0, width, height), size, reductions)
    assert chosen == 1 or min(width, height) / chosen >= 2 * size
    if chosen < most:
        assert min(width, height) / (2 * chosen) < 2 * size


@laws
@given(seed=st.integers(0, 2**32), size=st.integers(8, 64))
def test_mirroring_twice_gives_the_same_sample(seed: int, size: int) -> None:
    rng = np.random.default_rng(seed)
    corner = rng.integers(0, size - 3, 2)
    box = np.array([[*corner, *(corner + rng.integers(3, size - corner + 1))]], np.float32)
    sample = Sample(
        image=rng.integers(0, 256, (size, size, 3), np.uint8),
        boxes=box,
        labels=np.array([1]),
        difficult=np.array([False]),
        seg_map=rng.choice(np.array([0, 1, IGNORE_INDEX], np.uint8), (size, size)),
        source="noise",
    )
    mirror = CropWindow(0, 0, size, size, flip=True)
    once = view_sample(sample, mirror, size)
    twice = view_sample(once, mirror, size)
    np.testing.assert_array_equal(once.image, sample.image[:, ::-1])
    np.testing.assert_array_equal(twice.image, sample.image)
    np.testing.assert_array_equal(twice.seg_map, sample.seg_map)
    np.testing.assert_array_equal(twice.boxes, sample.boxes)
