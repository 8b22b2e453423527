"""Properties of drawing, without stored images."""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import pytest
from PIL import Image, ImageDraw

from blitznet.classes import VOC_CLASSES
from blitznet.draw import EDGE_OPACITY, REGION_OPACITY, Tags, draw_scene, vivid_palette

PALETTE = vivid_palette()
CAT, DOG, PERSON = (VOC_CLASSES.index(name) for name in ("cat", "dog", "person"))
GREY = (100, 100, 100)


def drawn(
    size: tuple[int, int],
    boxes: Sequence[Sequence[float]] = (),
    labels: Sequence[int] = (),
    seg_map: np.ndarray | None = None,
) -> np.ndarray:
    image = Image.new("RGB", size, GREY)
    result = draw_scene(
        image,
        np.array(boxes, dtype=np.float32).reshape(-1, 4),
        np.array(labels, dtype=np.int64),
        np.linspace(0.9, 0.5, len(boxes), dtype=np.float32),
        seg_map,
        VOC_CLASSES,
    )
    assert (result.mode, result.size) == ("RGB", size)
    assert image.getcolors() == [(size[0] * size[1], GREY)]  # what was given is untouched
    return np.asarray(result)


def tags_on(size: tuple[int, int]) -> Tags:
    return Tags(ImageDraw.Draw(Image.new("RGB", size)), size)


def test_a_scene_of_nothing_is_the_image_itself() -> None:
    assert (drawn((30, 20), seg_map=np.zeros((20, 30), np.uint8)) == GREY).all()


def test_a_region_is_veiled_in_its_colour_and_edged_in_a_lighter_one() -> None:
    seg_map = np.zeros((60, 80), np.uint8)
    seg_map[10:50, 10:11] = CAT  # too small a region for a name
    seg_map[55:60, 70:80] = DOG
    image = drawn((80, 60), seg_map=seg_map)
    light = PALETTE // 2 + 128
    on_edge = EDGE_OPACITY * light[CAT] + (1 - EDGE_OPACITY) * np.array(GREY)
    inside = REGION_OPACITY * PALETTE[DOG] + (1 - REGION_OPACITY) * np.array(GREY)
    assert np.abs(image[30, 10] - on_edge).max() <= 1.5  # opacities are stored in 255 steps
    assert np.abs(image[58, 75] - inside).max() <= 1.5
    assert (image[seg_map == 0] == GREY).all()


def test_the_border_of_the_image_is_no_edge_of_a_region() -> None:
    image = drawn((8, 8), seg_map=np.full((8, 8), CAT, np.uint8))  # too small for a name
    assert len(np.unique(image.reshape(-1, 3), axis=0)) == 1


def test_strips_of_huge_images_leave_no_seam() -> None:
    seg_map = np.full((1500, 1000), CAT, np.uint8)
    image = drawn((1000, 1500), seg_map=seg_map)
    columns = image[:, :5].reshape(-1, 3)  # beside the name in the middle
    assert len(np.unique(columns, axis=0)) == 1


def test_a_box_is_a_frame_in_the_colour_of_its_class() -> None:
    image = drawn((200, 150), [[50, 40, 150, 120]], [DOG])
    color = PALETTE[DOG]
    assert (image[80, 50] == color).all()
    assert (image[80, 149] == color).all()
    assert (image[119, 100] == color).all()
    assert (image[80, 100] == GREY).all()
    outside = np.ones((150, 200), bool)
    outside[20:120, 50:150] = False  # the box and a tag above it
    assert (image[outside] == GREY).all()


def test_a_small_box_shows_on_a_large_one_whatever_the_scores() -> None:
    large, small = [20, 20, 180, 130], [20, 60, 80, 100]
    for boxes, labels in ([large, small], [PERSON, DOG]), ([small, large], [DOG, PERSON]):
        image = drawn((200, 150), boxes, labels)
        assert (image[80, 20] == PALETTE[DOG]).all()


@pytest.mark.parametrize("size", [(1, 1), (2, 300), (300, 2), (31, 17), (200, 150), (1600, 1200)])
def test_any_size_can_be_drawn_with_boxes_anywhere(size: tuple[int, int]) -> None:
    rng = np.random.default_rng(0)
    corners = np.sort(rng.uniform(-0.1, 1.1, (20, 2, 2)), axis=1).reshape(20, 4)
    boxes = corners * np.array([*size, *size])
    labels = rng.integers(1, 21, 20)
    image = drawn(
        size, boxes.tolist(), labels.tolist(), rng.integers(0, 21, size[::-1]).astype(np.uint8)
    )
    assert (image != GREY).any()


@pytest.mark.parametrize("side", [0, 0.3, 1, 2.5, 3, 5.7, 8, 13])
def test_boxes_of_a_few_pixels_are_drawn_too(side: float) -> None:
    offsets = np.linspace(0, 1, 21)
    boxes = [[20 + o, 20 - o, 20 + o + side, 20 - o + 2 * side] for o in offsets]
    assert (drawn((60, 60), boxes, [CAT] * 21) == PALETTE[CAT]).all(axis=2).any()


def test_lines_and_letters_grow_with_the_image_and_stay_readable() -> None:
    lines, letters = [], []
    for size in [(200, 150), (640, 480), (2000, 1500)]:
        inner = size[0] // 4, size[1] // 4, size[0] // 2, size[1] // 2
        image = drawn(size, [inner], [CAT])
        left = image[inner[1] + (inner[3] - inner[1]) // 2, : size[0] // 2 - 40]
        lines.append(int((left == PALETTE[CAT]).all(axis=1).sum()))
        tags = tags_on(size)
        tags.attach(["cat"], np.array(inner), GREY)
        letters.append(tags.placed[0][3] - tags.placed[0][1])
    assert 2 <= lines[0] <= lines[1] < lines[2]
    assert 11 <= letters[0] <= letters[1] < letters[2]


@pytest.mark.parametrize(
    "box", [[0, 0, 30, 30], [170, 120, 200, 150], [-9, 60, 220, 90], [0, 0, 200, 150]]
)
def test_tags_stay_inside_the_image(box: list[float]) -> None:
    tags = tags_on((200, 150))
    tags.attach(["motorbike 0.98"], np.array(box), (0, 0, 0))
    left, top, right, bottom = tags.placed[0]
    assert 0 <= left < right <= 200
    assert 0 <= top < bottom <= 150


def test_a_tag_without_room_is_shortened_and_then_left_out() -> None:
    tags = tags_on((60, 40))
    tags.attach(["motorbike 0.98", "bike"], np.array([5, 20, 50, 40]), (0, 0, 0))
    tags.attach(["a very long name 0.98", "a very long name"], np.array([5, 20, 50, 40]), (0, 0, 0))
    assert len(tags.placed) == 1


def test_tags_of_boxes_at_one_place_do_not_hide_each_other() -> None:
    tags = tags_on((200, 150))
    for _ in range(3):
        tags.attach(["cat 0.90"], np.array([50, 60, 120, 110]), (0, 0, 0))
    tops = sorted(top for _, top, _, _ in tags.placed)
    assert len(tops) == 3
    assert all(b - a >= 14 for a, b in pairwise(tops))


def test_letters_contrast_with_their_plate() -> None:
    for class_id in range(1, len(VOC_CLASSES)):
        image = drawn((200, 150), [[20, 60, 180, 140]], [class_id])
        plate = image[30:60].reshape(-1, 3)
        lightness = plate @ np.array([0.299, 0.587, 0.114])
        assert np.ptp(lightness[(plate != GREY).any(axis=1)]) > 100, VOC_CLASSES[class_id]


def test_a_large_region_without_a_box_gets_its_name_inside_itself() -> None:
    seg_map = np.zeros((300, 400), np.uint8)
    seg_map[150:290, 20:180] = CAT
    image = drawn((400, 300), seg_map=seg_map)
    is_plate = (image == PALETTE[CAT]).all(axis=2)  # the veil never has the full colour
    assert is_plate.sum() > 100
    assert (seg_map[is_plate] == CAT).all()
    image = drawn((400, 300), [[220, 150, 380, 290]], [CAT], seg_map)  # its box has the name
    assert not (image[150:290, 20:180] == PALETTE[CAT]).all(axis=2).any()


@pytest.mark.parametrize(("width", "same"), [(40, True), (200, False)])
def test_without_scores_the_tags_are_the_names_that_narrow_images_get_anyway(
    width: int, same: bool
) -> None:
    image = Image.new("RGB", (width, 60), GREY)
    boxes, labels = np.array([[2, 20, 38, 58]], np.float32), np.array([CAT])
    scored = draw_scene(image, boxes, labels, np.array([0.9], np.float32), None, VOC_CLASSES)
    named = draw_scene(image, boxes, labels, None, None, VOC_CLASSES)
    assert np.any(np.asarray(named) != np.asarray(image))
    assert np.array_equal(named, scored) is same


def test_drawing_in_place_gives_the_same_on_the_image_itself() -> None:
    seg_map = np.zeros((40, 60), np.uint8)
    seg_map[10:30, 20:50] = CAT
    image = Image.new("RGB", (60, 40), GREY)
    nothing = np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.float32)
    copy = draw_scene(image, *nothing, seg_map, VOC_CLASSES)
    drawn_on = draw_scene(image, *nothing, seg_map, VOC_CLASSES, in_place=True)
    assert drawn_on is image
    assert image.tobytes() == copy.tobytes()


def test_colours_of_classes_differ_and_are_those_of_the_page() -> None:
    """By `vivid` of page.js, for the ids 0, 1 and 21."""
    assert PALETTE[[0, 1, 21]].tolist() == [[237, 53, 207], [115, 197, 17], [237, 53, 183]]
    distances = np.abs(PALETTE[:21, None].astype(int) - PALETTE[:21]).sum(axis=-1)
    assert distances[~np.eye(21, dtype=bool)].min() >= 50
