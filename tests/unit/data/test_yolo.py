"""The YOLO reader: every layout, every kind of row, and messages for wrong ones."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from blitznet.data.description import DataDescription
from blitznet.data.source import LabelSource
from blitznet.data.yolo import labels_of, read_rows
from blitznet.errors import LabelError
from fixtures.label_files import draw, opened, raises, write

NAMES = ("cat", "dog")
SIZE = (40, 20)

# pycocotools 2.0.11 with numpy 2.
old_copy_protocol = pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")


def open_entry(folder: Path, names: str = "[cat, dog]", **fields: str) -> LabelSource:
    fields = {"names": names} | fields if "data" not in fields else fields
    entry = ", ".join(f"{key}: {value}" for key, value in fields.items())
    return opened(folder, f"format: yolo, {entry}")


def boxes_of(source: LabelSource, index: int = 0) -> list[list[float]]:
    boxes = source.read(index).boxes
    return boxes.tolist()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Twin folders with an image of two objects, one with an empty file and one without a file."""
    for name in ("a", "b", "c"):
        draw(tmp_path / "mine" / "images" / f"{name}.jpg")
    write(
        tmp_path / "mine" / "labels" / "a.txt",
        "1 0.5 0.5 0.25 0.5\n\n0 0.1 0.2 0.6 0.2 0.6 0.9 \n",
    )
    write(tmp_path / "mine" / "labels" / "b.txt", "")
    write(tmp_path / "mine" / "names.txt", "cat\ndog\n\n")
    return tmp_path / "mine"


def test_boxes_are_centres_and_sides_in_fractions_and_polygons_give_their_extent(
    root: Path,
) -> None:
    sample = open_entry(root.parent, "mine/names.txt", root="mine").read(0)
    assert sample.source == str(root / "images" / "a.jpg")
    # 0.5 * 40 -+ 0.125 * 40, 0.5 * 20 -+ 0.25 * 20; the polygon spans 0.1..0.6 and 0.2..0.9.
    np.testing.assert_allclose(sample.boxes, [[15, 5, 25, 15], [4, 4, 24, 18]], rtol=1e-6)
    assert sample.labels.tolist() == [2, 1]
    assert not sample.difficult.any()
    assert sample.seg_map is None


def test_an_image_without_a_file_and_one_with_an_empty_file_have_no_object(root: Path) -> None:
    source = open_entry(root.parent, root="mine")
    assert len(source) == 3
    assert boxes_of(source, 1) == boxes_of(source, 2) == []


def test_labels_are_in_the_twin_of_the_last_images_folder() -> None:
    assert labels_of(Path("/images/a/images/b/c.jpg")) == Path("/images/a/labels/b/c.txt")
    assert labels_of(Path("/data/my_images/c.jpg")) == Path("/data/my_images/c.txt")


@pytest.mark.parametrize(
    ("image", "label", "fields"),
    [
        ("images/train/x/a.png", "labels/train/x/a.txt", {"images": "images/train"}),
        ("train/images/a.jpg", "train/labels/a.txt", {"images": "train/images"}),
        ("train/images/a.jpg", "train/labels/a.txt", {"root": "train"}),
        ("photos/x/a.jpg", "texts/x/a.txt", {"images": "photos", "labels": "texts"}),
        ("images/a.b.jpg", "images/a.b.txt", {"root": "images"}),
        ("flat/a.JPG", "flat/a.txt", {"root": "flat"}),
    ],
)
def test_the_label_file_is_found_in_every_layout(
    tmp_path: Path, image: str, label: str, fields: dict[str, str]
) -> None:
    draw(tmp_path / image)
    write(tmp_path / label, "0 0.5 0.5 1 1")
    assert boxes_of(open_entry(tmp_path, **fields)) == [[0, 0, 40, 20]]


def test_hidden_files_are_no_images(root: Path) -> None:
    write(root / "images" / "._a.jpg", "what macOS leaves")
    write(root / "images" / ".thumbnails" / "t.jpg", "a preview")
    assert len(open_entry(root.parent, root="mine")) == 3


def test_a_list_of_images_is_relative_to_its_folder(root: Path) -> None:
    write(root / "train.txt", f"./images/a.jpg\nimages/c.jpg\n{root / 'images' / 'b.jpg'}\n")
    source = open_entry(root.parent, images="mine/train.txt")
    assert [source.labels(i).path.name for i in range(3)] == ["a.jpg", "c.jpg", "b.jpg"]
    assert len(boxes_of(source)) == 2


@pytest.mark.parametrize(
    "text",
    [
        "path: .\ntrain: images\nnames: [cat, dog]",
        "train: [images]\nnames: {1: dog, 0: cat}",
        "path: ../mine\ntrain: images\nnames: {0: cat, 1: dog}",
        "train: ../images\nnames: [cat, dog]",  # leads nowhere; read as Ultralytics does
    ],
)
def test_a_data_yaml_says_names_and_places(root: Path, text: str) -> None:
    write(root / "data.yaml", text)
    source = open_entry(root.parent, data="mine/data.yaml", split="train")
    assert len(source) == 3
    assert [item.name for item in source.labels(0).objects or ()] == ["dog", "cat"]


def test_maps_have_the_names_of_images_and_the_order_of_the_names_from_1(root: Path) -> None:
    ids = np.zeros(SIZE[::-1], np.uint8)
    ids[3, 4:7] = 1, 2, 255
    (root / "masks").mkdir()
    Image.fromarray(ids).save(root / "masks" / "a.png")
    source = open_entry(root.parent, root="mine", masks="mine/masks")
    seg_map = source.read(0).seg_map
    assert seg_map.tolist() == ids.tolist()
    assert source.read(1).seg_map is None
    assert len(boxes_of(source)) == 2
    (root / "masks" / "a.png").rename(root / "masks" / "a_mask.png")
    source = open_entry(root.parent, root="mine", masks="mine/masks", suffix="_mask")
    assert source.read(0).seg_map.tolist() == ids.tolist()


def test_the_values_or_colours_of_maps_can_be_said(root: Path) -> None:
    (root / "masks").mkdir()
    Image.new("RGB", SIZE, (0, 0, 128)).save(root / "masks" / "a.png")
    Image.new("L", SIZE, 7).save(root / "masks" / "b.png")
    fields = {"root": "mine", "masks": "mine/masks", "boxes": "false"}
    values = open_entry(root.parent, mask_values="{0: background, 7: dog}", **fields)
    colours = open_entry(root.parent, mask_colours="{'#000080': cat}", **fields)
    assert values.read(1).boxes is None
    assert np.unique(values.read(1).seg_map).tolist() == [2]
    assert np.unique(colours.read(0).seg_map).tolist() == [1]


@old_copy_protocol
def test_maps_from_polygons_leave_the_boxes_of_plain_rows_void(root: Path) -> None:
    write(root / "labels" / "a.txt", "0 0.25 0.5 0.75 0.5 0.75 1 0.25 1\n1 0.1 0.1 0.2 0.2\n")
    sample = open_entry(root.parent, root="mine", masks="from_instances").read(0)
    expected = np.zeros(SIZE[::-1], np.uint8)
    expected[10:20, 10:30] = 1
    expected[0:4, 0:8] = 255
    np.testing.assert_array_equal(sample.seg_map, expected)


def test_maps_from_boxes_keep_their_middle(root: Path) -> None:
    write(root / "labels" / "a.txt", "1 0.5 0.5 0.5 0.5")
    seg_map = open_entry(root.parent, root="mine", masks="from_boxes").read(0).seg_map
    assert seg_map[10, 20] == 2
    assert seg_map[5, 10] == 255
    assert seg_map[0, 0] == 0


def test_a_mark_that_windows_editors_write_in_front_is_passed_over(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    path.write_bytes(b"\xef\xbb\xbf0 0.5 0.5 1 1\r\n1.0 0.5 0.5 1 1\r\n")
    assert [item.name for item in read_rows(path, NAMES)[0]] == ["cat", "dog"]


ROW = "a row is CLASS CX CY W H, or CLASS and the X Y of three or more points"
BEYOND = "reaches beyond the image of 40x20 pixels"


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("0", f"1 columns; {ROW}"),
        ("0 .5 .5 .2 .2 .9", f"6 columns; {ROW} (remove the score or track id at the end)"),
        ("0 .1 .1 .2 .2 .3 .3 .4", f"8 columns; {ROW}"),
        ("0 .5 half .2 .2", f"'.5 half .2 .2' are not all numbers; {ROW}"),
        (
            "0 20 10 8 -16",
            "20 is not a fraction; divide x by the width of the image and y by its height",
        ),
        ("x .5 .5 .2 .2", "unknown class 'x'; a row begins with the number of its class"),
        ("2 0.5 0.5 0.2 0.2", "unknown class 2; only 0 to 1 have names"),
        ("-1 0.5 0.5 0.2 0.2", "unknown class -1; only 0 to 1 have names"),
        ("0.5 0.5 0.5 0.2 0.2", "unknown class 0.5; only 0 to 1 have names"),
        ("0 0.5 0.5 -0.2 0.2", "box 0.5 0.5 -0.2 0.2 has no area"),
        ("0 nan 0.5 0.2 0.2", "box nan 0.5 0.2 0.2 is not finite"),
        ("0 0.5 0.5 1.3 0.2", f"box 0.5 0.5 1.3 0.2 {BEYOND}"),
        ("0 .1 .1 .1 .5 1.2 .5", f"box around a polygon, [0.1, 0.1, 1.2, 0.5], {BEYOND}"),
    ],
)
def test_a_wrong_row_is_named_with_its_line(tmp_path: Path, text: str, problem: str) -> None:
    draw(tmp_path / "images" / "a.jpg")
    path = write(tmp_path / "labels" / "a.txt", f"1 0.5 0.5 1.000001 1.02\n\n{text}\n")
    with raises(f"{path}, line 3: {problem}"):
        open_entry(tmp_path, images="images").read(0)
    write(path, "1 0.5 0.5 1.000001 1.02\n")  # what rounding leaves outside is cut off
    assert boxes_of(open_entry(tmp_path, images="images")) == [[0, 0, 40, 20]]


def test_a_label_map_for_all_other_names_does_not_hide_a_number_without_a_name(
    tmp_path: Path,
) -> None:
    draw(tmp_path / "images" / "a.jpg")
    path = write(tmp_path / "labels" / "a.txt", "2 0.5 0.5 0.2 0.2\n")
    with raises(f"{path}, line 1: unknown class 2; only 0 to 1 have names"):
        open_entry(tmp_path, images="images", label_map="{'*': null}").read(0)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"root": "nowhere"}, "{folder}/nowhere does not exist; check `root`"),
        ({"images": "nowhere"}, "{folder}/nowhere does not exist; check `images`"),
        (
            {"images": "mine/images", "labels": "texts"},
            "{folder}/texts does not exist; check `labels`",
        ),
        (
            {"images": "mine/list.txt"},
            "{folder}/mine/list.txt, image 2: {folder}/mine/images/z.jpg does not exist",
        ),
        ({"images": "mine/empty.txt"}, "{folder}/mine/empty.txt lists no image"),
    ],
)
def test_files_and_folders_that_are_missing_are_named(
    root: Path, fields: dict[str, str], problem: str
) -> None:
    write(root / "list.txt", "images/a.jpg\nimages/z.jpg\n")
    write(root / "empty.txt", "\n")
    with raises(problem.format(folder=root.parent)):
        open_entry(root.parent, **fields)


def test_the_whole_path_of_a_missing_folder_is_named(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(root.parent)
    with raises(f"{root.parent}/masks does not exist; check `masks`"):
        open_entry(Path(), root="mine", masks="masks")


def test_two_images_that_share_their_labels_are_refused(root: Path) -> None:
    other = draw(root / "images" / "a.png")
    with raises(
        f"{root / 'images' / 'a.jpg'} and {other} share the labels "
        f"{root / 'labels' / 'a.txt'}; rename or remove one"
    ):
        open_entry(root.parent, root="mine")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", "has a blank line or no name; it needs one name per class"),
        ("cat\n\ndog", "has a blank line or no name; it needs one name per class"),
        ("cat\ndog\ncat", "has two classes 'cat'"),
    ],
)
def test_a_file_of_names_with_gaps_or_doubles_is_refused(
    root: Path, text: str, problem: str
) -> None:
    path = write(root / "names.txt", text)
    with raises(f"{path} {problem}"):
        open_entry(root.parent, "mine/names.txt", root="mine")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("train: images", "{path} is not a YOLO data.yaml: it has no `names`"),
        ("names: cat", "{path}: `names` is 'cat'; it needs a list, like [cat, dog]"),
        ("[1, 2]", "{path} is not a YOLO data.yaml: it has no `names`"),
        (
            "train: images\nnames: {1: cat, 2: dog}",
            "{path}: the numbers of `names` are not 0 to 1",
        ),
        (
            "train: images\nval: images\nnames: [cat]",
            "{path} has no split 'test'; there are train, val",
        ),
        (
            "test: [{format: yolo}]\nnames: [cat]",
            "{path}: test is not a path or a list of paths, as a data.yaml with `names` needs; "
            "with sources such as {{format: yolo, ...}}, write `classes` for `names`",
        ),
        ("test: []\nnames: [cat]", "{path} has no split 'test'; there are none"),
        (
            "path: /content\ntest: images\nnames: [cat]",
            "/content/images does not exist; correct the paths in {path}",
        ),
    ],
)
def test_a_data_yaml_that_cannot_be_used_is_refused(root: Path, text: str, problem: str) -> None:
    path = write(root / "data.yaml", text)
    with raises(problem.format(path=path)):
        open_entry(root.parent, data="mine/data.yaml", split="test")


@pytest.mark.parametrize(
    ("entry", "problem"),
    [
        ({}, "YOLO needs one of root: FOLDER, data: data.yaml, images: FOLDER"),
        ({"root": "a", "images": "b"}, "YOLO needs one of root: FOLDER, data: data.yaml"),
        ({"data": "d.yaml"}, "data: data.yaml and its split: NAME go together"),
        ({"data": "d.yaml", "split": "train", "names": ["cat"]}, "YOLO needs names: FILE"),
        ({"root": "a"}, "YOLO needs names: FILE or a list; with data: they are in that file"),
        ({"root": "a", "names": ["cat"], "labels": "l"}, "labels: needs images:"),
        (
            {"root": "a", "names": ["cat"], "masks": "from_instances", "mask_values": ["cat"]},
            "mask_values: and mask_colours: need masks: FOLDER",
        ),
        ({"root": "a", "names": ["cat"], "root_folder": "b"}, "Extra inputs are not permitted"),
    ],
)
def test_an_entry_that_says_too_little_or_too_much_is_refused(
    entry: dict[str, object], problem: str
) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)):
        DataDescription(classes=["cat"], splits={"train": [{"format": "yolo"} | entry]})


def test_images_can_be_opened_without_labels_to_predict_on(tmp_path: Path) -> None:
    draw(tmp_path / "images" / "a.jpg")
    entry = {"format": "yolo", "images": "images", "names": ["cat"], "boxes": False}
    description = DataDescription(classes=["cat"], splits={"new": [entry]}, folder=tmp_path)
    sample = description.open_split("new")[0].read(0)
    assert sample.boxes is None
    assert sample.seg_map is None
    with pytest.raises(LabelError, match=r"a source to train with needs boxes: true"):
        open_entry(tmp_path, images="images", boxes="false")


def test_more_rows_than_an_image_has_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.txt").write_text("0 .5 .5 .1 .1\n" * 100_001)
    with pytest.raises(LabelError, match=r"a\.txt has 100001 rows; an image has at most 100000"):
        read_rows(tmp_path / "a.txt", ["cat"])
