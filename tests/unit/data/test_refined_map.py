"""Maps made from boxes and a network's probabilities, checked pixel by pixel."""

import pickle
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from blitznet.classes import IGNORE_INDEX
from blitznet.data.map_from_boxes import NAMES_FILE, refine_box_map, refined_path
from blitznet.structures import IGNORE_LABEL
from fixtures.label_files import draw, opened, write

VOID = IGNORE_INDEX
SHAPE = (10, 10)
CAT, DOG = 1, 2

# The coarse map of a cat in the left half, of a dog in the right one: void, a middle of their own.
LEFT, RIGHT = (0, 0, 5, 10), (5, 0, 10, 10)
COARSE = np.full(SHAPE, VOID, np.uint8)
COARSE[4:6, 2:3], COARSE[4:6, 7:8] = CAT, DOG


def seen(**shares: float) -> np.ndarray:
    """(3, 10, 10) probabilities, the same everywhere."""
    values = [shares.get(name, 0.0) for name in ("background", "cat", "dog")]
    return np.broadcast_to(np.array(values, np.float32)[:, None, None], (3, *SHAPE)).copy()


def refine(
    probabilities: np.ndarray,
    boxes: Sequence[tuple[float, ...]],
    ids: list[int],
    coarse: np.ndarray = COARSE,
    confidence: float = 0.8,
    known: Sequence[bool] = (True, True, True),
) -> np.ndarray:
    return refine_box_map(
        coarse, probabilities, np.array(boxes, np.float32).reshape(-1, 4), np.array(ids, int),
        confidence, np.array(known),
    )  # fmt: skip


def test_outside_all_boxes_the_coarse_map_stays() -> None:
    coarse = np.where(np.arange(10) < 5, COARSE, 0).astype(np.uint8)
    refined = refine(seen(dog=1.0), [LEFT], [CAT], coarse)
    assert (refined[:, 5:] == 0).all()
    np.testing.assert_array_equal(refine(seen(dog=1.0), [], [], coarse), coarse)


def test_what_the_network_takes_for_another_object_belongs_to_the_class_of_the_box() -> None:
    refined = refine(seen(background=0.1, cat=0.01, dog=0.89), [LEFT], [CAT])
    assert (refined[:, :5] == CAT).all()


def test_of_a_class_that_the_source_does_not_label_nothing_goes_to_the_boxes() -> None:
    refined = refine(seen(cat=0.15, dog=0.85), [LEFT], [CAT], known=(True, True, False))
    np.testing.assert_array_equal(refined[:, :5], COARSE[:, :5])
    refined = refine(seen(cat=0.85, dog=0.15), [LEFT], [CAT], known=(True, True, False))
    assert (refined[:, :5] == CAT).all()


def test_where_boxes_overlap_the_network_decides_between_their_classes() -> None:
    both = [(0, 0, 10, 10)] * 2
    assert (refine(seen(cat=0.9, dog=0.1), both, [CAT, DOG]) == CAT).all()
    assert (refine(seen(cat=0.1, dog=0.9), both, [CAT, DOG]) == DOG).all()


@pytest.mark.parametrize(("share", "expected"), [(0.79, VOID), (0.81, CAT)])
def test_less_sure_pixels_are_void(share: float, expected: int) -> None:
    refined = refine(seen(background=1 - share, cat=share), [(0, 0, 10, 10)], [CAT])
    # All void is an object that was not found, see below: its middle stays.
    assert refined[0, 0] == expected


def test_background_inside_a_box_is_background() -> None:
    probabilities = seen(background=1.0)
    probabilities[:, :4] = seen(cat=1.0)[:, :4]
    refined = refine(probabilities, [(0, 0, 10, 10)], [CAT])
    assert (refined[:4] == CAT).all()
    assert (refined[4:] == 0).all()


def test_an_object_that_the_network_misses_keeps_its_coarse_map() -> None:
    refined = refine(seen(background=1.0), [LEFT, RIGHT], [CAT, DOG])
    np.testing.assert_array_equal(refined, COARSE)


def test_boxes_of_classes_that_the_network_does_not_know_stay_coarse() -> None:
    refined = refine(seen(cat=1.0), [(0, 0, 10, 10), RIGHT], [CAT, DOG])
    assert (refined[:, :5] == CAT).all()
    np.testing.assert_array_equal(refined[:, 5:], COARSE[:, 5:])


def test_boxes_of_ignored_objects_stay_coarse_even_inside_others() -> None:
    whole = (0, 0, 10, 10)
    refined = refine(seen(cat=1.0), [whole, RIGHT], [CAT, IGNORE_LABEL])
    assert (refined[:, :5] == CAT).all()
    np.testing.assert_array_equal(refined[:, 5:], COARSE[:, 5:])


def test_probabilities_of_a_coarser_grid_are_resized() -> None:
    probabilities = seen(background=1.0)[:, :2, :2]
    probabilities[:, :, 0] = seen(cat=1.0)[:, :2, 0]
    refined = refine(probabilities, [(0, 0, 10, 10)], [CAT], confidence=0.75)
    assert refined[0].tolist() == [CAT] * 4 + [VOID] * 2 + [0] * 4


def test_maps_lie_as_their_images_do() -> None:
    maps, data = Path("/maps"), Path("/data")
    assert refined_path(maps, Path("/data/a/b.jpg"), data) == Path("/maps/a/b.png")
    assert refined_path(maps, Path("/else/b.jpg"), data) == Path("/maps/else/b.png")
    assert refined_path(maps, Path("/data/../else/b.jpg"), data) == Path("/maps/else/b.png")
    assert refined_path(maps, Path("/data/a/../b.jpg"), data) == Path("/maps/b.png")


def test_a_source_with_refined_maps_goes_to_other_processes(tmp_path: Path) -> None:
    for name in "ab":
        write(draw(tmp_path / f"{name}.jpg").with_suffix(".txt"), "")
    write(tmp_path / "maps" / NAMES_FILE, "background\ncat\n")
    write(tmp_path / "maps" / "a.png", "")
    source = opened(tmp_path, "format: yolo, root: ., names: [cat], refined_masks: maps", "[cat]")
    twin = pickle.loads(pickle.dumps(source))  # as workers that are not forked get it
    assert [twin.labels(i) for i in range(2)] == [source.labels(i) for i in range(2)]
    assert source.labels(0).seg_map.path == tmp_path / "maps" / "a.png"
    assert source.labels(1).seg_map is None
