"""Maps made from outlines: by hand, compared with pycocotools, and damaged outlines."""

import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

import blitznet.extras
from blitznet.classes import IGNORE_INDEX
from blitznet.data.labels import ClassTable, ImageLabels, ObjectLabel
from blitznet.data.map_from_instances import map_from_instances, uncompress
from blitznet.errors import InputError, LabelError
from reference.instance_map_loops import combine_instances

mask = pytest.importorskip("pycocotools.mask")
# pycocotools 2.0.11 decodes in a way that numpy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

NAMES = ("background", "cat", "dog", "sheep")
TABLE = ClassTable(NAMES)
CAT, DOG, SHEEP = 1, 2, 3
WIDTH, HEIGHT = SIZE = 8, 6
LARGE = (1.0, 1.0, 7.0, 1.0, 7.0, 5.0, 1.0, 5.0)  # 6x4 pixels
SMALL = (2.0, 2.0, 4.0, 2.0, 4.0, 4.0, 2.0, 4.0)  # 2x2 pixels in it


INF, NAN = float("inf"), float("nan")
NO_COUNTS = (None, {}, [1.5, 46.5], [-1, 49], ["48"], [True, 47], "O0")
NO_SUMS = ([47], [40, 9], [], "", "0")


def thing(
    name: str,
    *polygons: tuple[float, ...],
    box: tuple[float, float, float, float] | None = (0, 0, 8, 6),
    ignore: bool = False,
) -> ObjectLabel:
    return ObjectLabel(name, box, "a.json, annotation 7", str(box), ignore, polygons)


def coded(size: object, counts: object) -> ObjectLabel:
    """A cat with a run-length code."""
    outline = {"size": size, "counts": counts}
    return ObjectLabel("cat", (0, 0, 8, 6), "a.json, annotation 7", "", outline=outline)


def paint(*objects: ObjectLabel, table: ClassTable = TABLE) -> list[list[int]]:
    return map_of(*objects, table=table).tolist()


def map_of(
    *objects: ObjectLabel,
    size: tuple[int, int] = SIZE,
    table: ClassTable = TABLE,
    in_fractions: bool = False,
) -> np.ndarray:
    labels = ImageLabels(Path("a.jpg"), objects, in_fractions=in_fractions)
    return map_from_instances(labels, size, table)


def drawn(*rows: str) -> list[list[int]]:
    """A map as text: `.` background, `#` void."""
    values = {".": 0, "#": IGNORE_INDEX, "c": CAT, "d": DOG, "s": SHEEP}
    return [[values[character] for character in row] for row in rows]


def raises(text: str) -> pytest.RaisesExc[LabelError]:
    """The whole message, which is one line and names the object."""
    return pytest.raises(LabelError, match=f"^a.json, annotation 7: {re.escape(text)}$")


SMALL_OVER_LARGE = drawn(
    "........",
    ".cccccc.",
    ".cddccc.",
    ".cddccc.",
    ".cccccc.",
    "........",
)


def test_an_image_without_objects_is_background() -> None:
    seg_map = map_of()
    assert (seg_map.shape, seg_map.dtype, seg_map.any()) == ((HEIGHT, WIDTH), np.uint8, False)


def test_the_smaller_of_two_is_in_front_whatever_their_order() -> None:
    assert paint(thing("cat", LARGE), thing("dog", SMALL)) == SMALL_OVER_LARGE
    assert paint(thing("dog", SMALL), thing("cat", LARGE)) == SMALL_OVER_LARGE


def test_of_two_of_one_size_the_last_is_in_front() -> None:
    moved = tuple(np.add(SMALL, [1, 0] * 4).tolist())
    assert paint(thing("cat", SMALL), thing("dog", moved))[2] == drawn("..cdd...")[0]
    assert paint(thing("dog", moved), thing("cat", SMALL))[2] == drawn("..ccd...")[0]


def test_the_polygons_of_an_object_are_united() -> None:
    right = tuple(np.add(SMALL, [3, 0] * 4).tolist())
    assert paint(thing("cat", SMALL, right))[2] == drawn("..cc.cc.")[0]
    overlapping = tuple(np.add(SMALL, [1, 0] * 4).tolist())
    assert paint(thing("cat", SMALL, overlapping))[2] == drawn("..ccc...")[0]


def test_a_crowd_is_void_and_smaller_objects_are_in_front_of_it() -> None:
    crowd = thing("cat", LARGE, ignore=True)
    assert paint(thing("dog", SMALL), crowd)[2] == drawn(".#dd###.")[0]
    small_crowd = thing("dog", SMALL, ignore=True)
    assert paint(thing("cat", LARGE), small_crowd)[2] == drawn(".c##ccc.")[0]


def test_an_object_of_an_ignored_class_is_void() -> None:
    table = ClassTable(NAMES, {"puppy": "ignore", "lamb": "sheep"})
    painted = paint(thing("lamb", LARGE), thing("puppy", SMALL), table=table)
    assert painted[2] == drawn(".s##sss.")[0]


@pytest.mark.parametrize(
    "table", [ClassTable(NAMES, {"dog": None}), ClassTable(NAMES, labels_only=["cat", "sheep"])]
)
def test_an_object_of_a_class_that_the_source_does_not_label_is_not_painted(
    table: ClassTable,
) -> None:
    assert paint(thing("cat", LARGE), thing("dog", SMALL), table=table)[2] == drawn(".cccccc.")[0]


# The last one is a line between pixel centres.
@pytest.mark.parametrize(
    "polygons", [(), ((2.0, 2.0, 4.0, 4.0),), ((),), ((2.0, 2.0, 3.0, 2.0, 4.0, 2.0),)]
)
def test_of_an_object_without_outline_all_pixels_that_its_box_touches_are_void(
    polygons: tuple[tuple[float, ...], ...],
) -> None:
    unknown = thing("dog", *polygons, box=(2.5, 1.9, 4.0, 3.1))
    assert paint(unknown) == drawn(
        "........",
        "..##....",
        "..##....",
        "..##....",
        "........",
        "........",
    )


def test_a_box_without_outline_is_behind_smaller_objects_and_in_front_of_larger_ones() -> None:
    unknown = thing("dog", box=(2, 1, 6, 5))
    painted = paint(thing("sheep", SMALL), unknown, thing("cat", LARGE))
    assert painted == drawn(
        "........",
        ".c####c.",
        ".css##c.",
        ".css##c.",
        ".c####c.",
        "........",
    )


def test_outlines_and_boxes_in_fractions_are_scaled_to_the_image() -> None:
    scale = np.array([WIDTH, HEIGHT] * 4)
    objects = thing("cat", LARGE), thing("dog", SMALL), thing("sheep", box=(6, 0, 8, 2))
    fractions = (
        thing("cat", tuple((LARGE / scale).tolist())),
        thing("dog", tuple((SMALL / scale).tolist())),
        thing("sheep", box=(0.75, 0, 1, 1 / 3)),
    )
    scaled = map_of(*fractions, in_fractions=True)
    assert scaled.tolist() == paint(*objects)


@given(
    st.integers(1, 9),
    st.integers(1, 9),
    st.floats(0, 1),
    st.integers(0, 99),
)
def test_run_lengths_as_numbers_and_as_text_are_the_mask_that_they_were_made_of(
    width: int, height: int, density: float, seed: int
) -> None:
    wanted = (np.random.default_rng(seed).random((height, width)) < density).astype(np.uint8)
    code = mask.encode(np.asfortranarray(wanted))
    lengths = uncompress(code["counts"])
    assert sum(lengths) == width * height
    for counts in (lengths, code["counts"].decode(), code["counts"]):
        painted = map_of(coded([height, width], counts), size=(width, height))
        # A mask without a pixel is no outline.
        expected = wanted if wanted.any() else np.full((height, width), IGNORE_INDEX)
        expected = expected.copy()
        if not wanted.any():
            expected[6:], expected[:, 8:] = 0, 0  # the box of `coded`
        assert painted.tolist() == expected.tolist()


def test_long_run_lengths_and_negative_steps_are_uncompressed() -> None:
    wanted = np.zeros((400, 300), np.uint8)
    wanted[40:390, 100:102] = 1
    wanted[5, 200] = 1
    lengths = [100 * 400 + 40, 350, 50, 350, 10 + 98 * 400 + 5, 1, 394 + 99 * 400]
    assert uncompress(mask.encode(np.asfortranarray(wanted))["counts"]) == lengths


def test_maps_of_many_polygons_equal_a_pixel_loop_over_pycocotools_masks() -> None:
    rng = np.random.default_rng(0)
    objects, instances = [], []
    for _ in range(40):
        index = int(rng.integers(1, 4))
        points = rng.uniform((0, 0), (60, 40), (int(rng.integers(3, 8)), 2)).ravel().tolist()
        ignore = bool(rng.random() < 0.2)
        objects.append(thing(NAMES[index], tuple(points), box=(0, 0, 60, 40), ignore=ignore))
        wanted = mask.decode(mask.frPyObjects([points], 40, 60)[0])
        instances.append((IGNORE_INDEX if ignore else index, wanted))
    painted = map_of(*objects, size=(60, 40))
    np.testing.assert_array_equal(painted, combine_instances(instances, (60, 40)))
    assert set(np.unique(painted)) == {0, CAT, DOG, SHEEP, IGNORE_INDEX}


def test_a_polygon_may_leave_the_image_by_rounding_and_not_by_more() -> None:
    assert paint(thing("cat", (-2.0, -2.0, 10.0, -2.0, 10.0, 8.0, -2.0, 8.0)))[0] == [CAT] * 8
    with raises("a polygon spans [1, 1, 7e+09, 5], beyond the image of 8x6 pixels"):
        paint(thing("cat", (1, 1, 7e9, 1, 7e9, 5, 1, 5)))


@pytest.mark.parametrize(
    ("item", "problem"),
    [
        (thing("cat", LARGE[:7]), "its outline is neither polygons x1, y1, ... nor run lengths"),
        (thing("cat", (NAN, *LARGE[1:])), "a polygon has coordinates that are not finite"),
        (thing("cat", (INF, *LARGE[1:])), "a polygon has coordinates that are not finite"),
        (thing("cat", box=(0, 0, NAN, 6)), "box (0, 0, nan, 6) is not finite"),
        (ObjectLabel("cat", None, "a.json, annotation 7", "bbox is 5"), "bbox is 5"),
        (coded([8, 6], [48]), "its run-length code is for height and width [8, 6], its image has"),
        (coded(None, [48]), "its run-length code is for height and width None, its image has"),
        *((coded([6, 8], c), "its run-length code is damaged: counts are") for c in NO_COUNTS),
        *((coded([6, 8], c), "its run-length code is damaged: it counts") for c in NO_SUMS),
    ],
)
def test_outlines_and_boxes_that_cannot_be_used_are_refused(
    item: ObjectLabel, problem: str
) -> None:
    with pytest.raises(LabelError, match=f"^a.json, annotation 7: {re.escape(problem)}"):
        paint(item)


@given(st.binary(max_size=30))
def test_whatever_text_stands_for_run_lengths_they_are_uncompressed(text: bytes) -> None:
    assert all(type(length) is int for length in uncompress(text))


def test_without_pycocotools_one_line_says_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blitznet.extras, "find_spec", lambda _: None)
    with pytest.raises(
        InputError,
        match=r"^a map made from instances needs pycocotools, which is not installed; "
        r"run: pip install 'blitznet\[train\]'$",
    ):
        paint(thing("cat", SMALL))


def test_a_number_without_an_end_is_refused_at_once() -> None:
    with pytest.raises(LabelError, match="a number without an end"):
        uncompress("o" * 10_000_000)
