"""Maps made from boxes, checked pixel by pixel."""

from pathlib import Path

import numpy as np
import pytest

from blitznet.classes import IGNORE_INDEX
from blitznet.data.labels import ClassTable, ImageLabels, ObjectLabel
from blitznet.data.map_from_boxes import INNER_AREA, is_missing, map_from_boxes, without_missing
from blitznet.structures import IGNORE_LABEL

TABLE = ClassTable(("background", "cat", "dog"))
SIZE = (20, 10)
VOID = IGNORE_INDEX


def map_of(
    *objects: tuple[str, tuple[float, float, float, float]],
    size: tuple[int, int] = SIZE,
    ignore: bool = False,
) -> np.ndarray:
    labels = tuple(
        ObjectLabel(name, box, where="a.xml", written=str(box), ignore=ignore)
        for name, box in objects
    )
    return map_from_boxes(ImageLabels(Path("a.jpg"), labels), size, TABLE)


def test_an_image_without_objects_is_all_background() -> None:
    seg_map = map_of()
    assert seg_map.shape == (10, 20)
    assert seg_map.dtype == np.uint8
    assert not seg_map.any()


def test_a_box_is_void_around_its_object_and_background_begins_at_its_edge() -> None:
    seg_map = map_of(("dog", (2, 0, 12, 10)))
    # The inner fifth of 10x10 is 4.47 wide: from 4.76 to 9.24, the centres of pixels 5 to 8.
    assert seg_map[5].tolist() == [0] * 2 + [VOID] * 3 + [2] * 4 + [VOID] * 3 + [0] * 8
    assert seg_map[0].tolist() == [0] * 2 + [VOID] * 10 + [0] * 8
    assert (seg_map == 2).sum() == 16


def test_the_inner_part_has_its_share_of_a_large_box() -> None:
    seg_map = map_of(("cat", (0, 0, 400, 300)), size=(400, 300))
    assert (seg_map == 1).mean() == pytest.approx(INNER_AREA, rel=0.01)
    assert (seg_map == VOID).mean() == pytest.approx(1 - INNER_AREA, rel=0.01)


def test_the_smaller_of_two_boxes_counts_with_its_void_in_any_order() -> None:
    large, small = ("dog", (0.0, 0.0, 20.0, 10.0)), ("cat", (8.0, 3.0, 12.0, 7.0))
    first = map_of(large, small)
    second = map_of(small, large)
    np.testing.assert_array_equal(first, second)
    assert first[5, 6] == 2
    assert first[5, 8] == VOID
    assert first[5, 9] == 1


def test_difficult_objects_are_void() -> None:
    seg_map = map_of(("dog", (2, 0, 12, 10)), ignore=True)
    assert set(np.unique(seg_map)) == {0, VOID}


def test_a_box_smaller_than_a_pixel_still_marks_one() -> None:
    seg_map = map_of(("cat", (19.6, 9.6, 20, 10)))
    assert seg_map[9, 19] == 1
    assert (seg_map != 0).sum() == 1


def test_a_missing_object_is_void_where_the_map_says_background() -> None:
    own = np.zeros((10, 20), np.uint8)
    own[2:8, 4:9] = 1  # a cat
    labels = ImageLabels(
        Path("a.jpg"),
        (
            ObjectLabel("cat", (4, 2, 9, 8), "", ""),
            ObjectLabel("dog", (6, 0, 15, 10), "", "", ignore=True),  # also if it is difficult
        ),
    )
    seg_map = without_missing(lambda *_: own, labels, SIZE, TABLE)
    expected = own.copy()
    expected[:, 6:15] = np.where(own[:, 6:15] == 1, 1, VOID)
    np.testing.assert_array_equal(seg_map, expected)
    assert not own[:, 9:].any()  # a copy


def test_an_object_is_missing_below_a_fiftieth_of_its_box() -> None:
    own = np.zeros((10, 20), np.uint8)
    boxes = np.array([[0, 0, 10, 10]], np.float32)
    own[0, 0] = 2
    assert is_missing(boxes, np.array([2]), own).tolist() == [True]
    own[0, 1] = 2
    assert is_missing(boxes, np.array([2]), own).tolist() == [False]
    assert is_missing(boxes, np.array([1]), own).tolist() == [True]
    assert is_missing(boxes, np.array([IGNORE_LABEL]), own).tolist() == [False]
    assert is_missing(boxes[:0], np.array([], np.int64), own).shape == (0,)
