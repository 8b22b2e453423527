"""Labels as tools and people write them: each is read as meant, or reported."""

import unicodedata
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from blitznet.data.check.check import check_data
from blitznet.data.description import read_description
from blitznet.data.labels import ClassTable, ImageLabels, ObjectLabel, Problem, usable_objects
from blitznet.data.seg_map import MapEncoding, MapFile
from blitznet.data.voc import read_annotation
from blitznet.data.yolo import read_rows
from blitznet.errors import LabelError
from blitznet.model_info import BLITZNET300_MOBILE
from blitznet.structures import IGNORE_LABEL
from fixtures.label_files import described, draw, opened, write

TABLE = ClassTable(("background", "cat", "dog"))
CAFE, DECOMPOSED_CAFE = (unicodedata.normalize(form, "café") for form in ("NFC", "NFD"))


def findings(folder: Path, entry: str, kind: str) -> list[Problem]:
    path = described(folder, entry)
    return check_data(read_description(path), path, model=BLITZNET300_MOBILE).of_kind(kind)


def test_an_object_that_is_labelled_twice_counts_once() -> None:
    def item(name: str, x: float, ignore: bool = False) -> ObjectLabel:
        return ObjectLabel(name, (x, 0, 9, 9), f"line {x}", "...", ignore=ignore)

    objects = item("cat", 1), item("cat", 1), item("dog", 1), item("cat", 2), item("cat", 1, True)
    kept, problems = usable_objects(ImageLabels(Path("a.jpg"), objects), (20, 10), TABLE)
    assert [(one.class_id, one.box[0], one.is_ignored) for one in kept] == [
        (1, 1, False), (2, 1, False), (1, 2, False), (1, 1, True),
    ]  # fmt: skip
    assert [(one.kind, one.is_error) for one in problems] == [("box-twice", False)]


def test_a_star_in_a_label_map_stands_for_all_other_names() -> None:
    table = ClassTable(("background", "cat"), {"kitten": "cat", "*": "ignore"})
    assert [table.id_of(name) for name in ("cat", "kitten", "sofa")] == [1, 1, IGNORE_LABEL]
    assert ClassTable(("background", "cat"), {"*": None}).id_of("sofa") == 0


@pytest.mark.parametrize(
    ("name", "hint"),
    [
        ("cats", "did you mean 'cat'?"),
        (
            "toilet",
            "class 'toilet'; to drop its labels, add label_map: {'toilet': null} to the source",
        ),
        (
            DECOMPOSED_CAFE,
            "the class has the same letters in another Unicode form; use NFC in both",
        ),
    ],
)
def test_only_a_near_name_is_suggested(name: str, hint: str) -> None:
    table = ClassTable(("background", "cat", "Pole", CAFE))
    with pytest.raises(LabelError) as raised:
        table.id_of(name)
    assert str(raised.value).endswith(hint)


@pytest.mark.parametrize(
    ("entry", "key"),
    [
        ("format: yolo, root: ., names: [dog], masks: masks", "mask_values"),
        ("format: masks, images: images, masks: masks, values: [background, dog]", "values"),
    ],
)
def test_binary_maps_of_0_and_255_are_a_warning_that_says_what_to_write(
    tmp_path: Path, entry: str, key: str
) -> None:
    values = np.zeros((20, 40), np.uint8)
    values[5:10, 5:10] = 255
    (tmp_path / "masks").mkdir()
    for name in ("a", "b"):
        draw(tmp_path / "images" / f"{name}.jpg")
        write(tmp_path / "labels" / f"{name}.txt", "0 0.2 0.3 0.1 0.2")
        Image.fromarray(values).save(tmp_path / "masks" / f"{name}.png")
    (problem,) = findings(tmp_path, entry, "void-maps")
    assert not problem.is_error
    assert str(problem) == (
        f"{tmp_path}/data.yaml, train, source 1: no class in 2 maps, only background and void "
        f"(255); if 255 is an object, write {key}: {{0: background, 255: cat}}"
    )
    values[0, 0] = 1  # void beside a class, as in VOC
    Image.fromarray(values).save(tmp_path / "masks" / "a.png")
    assert findings(tmp_path, entry, "void-maps") == []


@pytest.mark.parametrize(("split", "meant"), [("trian", "train"), ("valid", "val"), ("test", None)])
def test_a_split_that_is_misspelt_is_a_warning(
    tmp_path: Path, split: str, meant: str | None
) -> None:
    draw(tmp_path / "images" / "a.jpg")
    write(tmp_path / "labels" / "a.txt", "0 0.2 0.3 0.1 0.2")
    data = tmp_path / "data.yaml"
    data.write_text(f"classes: [cat]\n{split}:\n  - {{format: yolo, root: ., names: [cat]}}\n")
    found = check_data(read_description(data), data).of_kind("split-name")
    texts = [problem.text for problem in found]
    assert not any(problem.is_error for problem in found)
    wanted = f"a split of this name is not used in training; did you mean {meant}?"
    assert texts == ([wanted] if meant else [])


@pytest.mark.parametrize("bits", [1, 2, 4])
def test_grey_maps_of_few_bits_hold_their_values(tmp_path: Path, bits: int) -> None:
    values = np.arange(2**bits, dtype=np.uint8).repeat(2)[None].repeat(3, axis=0)
    path = tmp_path / "map.png"
    write_grey_png(path, values, bits)
    codes = MapEncoding({0: "background", **{value: f"c{value}" for value in range(1, 16)}})
    table = ClassTable(("background", *(f"c{value}" for value in range(1, 16))))
    found = MapFile(path, codes)((values.shape[1], 3), table)
    np.testing.assert_array_equal(found, values)


def write_grey_png(path: Path, values: np.ndarray, bits: int) -> None:
    """Write a greyscale PNG of 2 or 4 bits, which Pillow cannot do."""
    import struct
    import zlib

    def chunk(kind: bytes, content: bytes) -> bytes:
        return (
            struct.pack(">I", len(content))
            + kind
            + content
            + struct.pack(">I", zlib.crc32(kind + content))
        )

    shifts = np.arange(bits)[::-1]
    rows = np.packbits((values[..., None] >> shifts & 1).reshape(len(values), -1), axis=1)
    content = b"".join(b"\0" + row.tobytes() for row in rows)
    header = struct.pack(">IIBBBBB", values.shape[1], len(values), bits, 0, 0, 0, 0)
    path.write_bytes(
        b"\x89PNG\r\n\x1a\n"
        + chunk(b"IHDR", header)
        + chunk(b"IDAT", zlib.compress(content))
        + chunk(b"IEND", b"")
    )


def test_a_grey_gif_holds_its_grey_values(tmp_path: Path) -> None:
    values = np.zeros((4, 6), np.uint8)
    values[1:3, 2:] = 255
    Image.fromarray(values).save(tmp_path / "map.gif")
    codes = MapEncoding({0: "background", 255: "dog"})
    found = MapFile(tmp_path / "map.gif", codes)((6, 4), TABLE)
    np.testing.assert_array_equal(found, np.where(values, 2, 0))


@pytest.mark.parametrize("ending", ["gif", "tif"])
def test_a_map_of_several_pages_is_no_map(tmp_path: Path, ending: str) -> None:
    first, second = (Image.new("L", (6, 4), value) for value in (1, 2))
    path = tmp_path / f"map.{ending}"
    first.save(path, save_all=True, append_images=[second])
    with pytest.raises(LabelError, match=f"map.{ending}: has 2 frames or pages; a segmentation"):
        MapFile(path)((6, 4), TABLE)


def test_key_points_behind_a_box_are_left_out(tmp_path: Path) -> None:
    row = "0 0.5 0.5 0.4 0.2 0.4 0.4 0.6 0.6\n"
    path = write(tmp_path / "a.txt", row)
    (item,), _ = read_rows(path, ("cat",), num_keypoints=4)
    assert item.box == pytest.approx((0.3, 0.4, 0.7, 0.6))
    assert item.outline is None
    (other,), _ = read_rows(path, ("cat",), num_keypoints=6)
    assert other.written == "9 columns; with this kpt_shape a row has 11"


def test_label_files_without_an_image_are_found(tmp_path: Path) -> None:
    for name in ("IMG_1.JPG", f"{DECOMPOSED_CAFE}.jpg", "dog7.jpg"):
        draw(tmp_path / "images" / name)
    for name in ("img_1.txt", f"{CAFE}.txt", "dog7.txt", "dogg7.TXT", "._dog7.txt"):
        write(tmp_path / "labels" / name, "0 0.5 0.5 0.5 0.5\n")
    found = findings(tmp_path, "format: yolo, root: ., names: [cat, dog]", "unclaimed")
    assert {Path(one.where).stem: one.is_error for one in found} == {
        "img_1": True, CAFE: True, "dogg7": False,
    }  # fmt: skip
    assert found[-1].text == "belongs to no image; is it for dog7?"


def test_a_map_that_only_looks_as_its_image_is_an_error(tmp_path: Path) -> None:
    for name in (DECOMPOSED_CAFE, "b"):
        draw(tmp_path / "img" / f"{name}.jpg")
    for name in (CAFE, "b", "of_another_split"):
        Image.new("L", (40, 20)).save(write(tmp_path / "m" / f"{name}.png", ""))
    entry = "format: masks, images: img, masks: m, values: {0: background, 1: cat}"
    (found,) = findings(tmp_path, entry, "unclaimed")
    assert (Path(found.where).stem, found.is_error) == (CAFE, True)


def test_links_that_lead_back_are_not_followed_twice(tmp_path: Path) -> None:
    draw(tmp_path / "mine/images/a.jpg")
    write(tmp_path / "mine/labels/a.txt", "0 0.5 0.5 0.5 0.5\n")
    for name in ("again", "once_more"):
        (tmp_path / "mine/images" / name).symlink_to("..")
    assert len(opened(tmp_path, "format: yolo, root: mine, names: [cat, dog]")) == 1


def test_labels_beside_images_are_found_below_a_folder_called_images(tmp_path: Path) -> None:
    project = tmp_path / "images" / "project"
    draw(project / "photos/a.jpg")
    write(project / "photos/a.txt", "1 0.5 0.5 0.5 0.5\n")
    source = opened(project, "format: yolo, images: photos, names: [cat, dog]")
    assert source.read(0).labels.tolist() == [2]


def test_a_list_may_have_the_separators_of_windows(tmp_path: Path) -> None:
    draw(tmp_path / "mine/images/a.jpg")
    write(tmp_path / "mine/labels/a.txt", "1 0.5 0.5 0.5 0.5\n")
    write(tmp_path / "train.txt", b"mine\\images\\a.jpg\r\n")
    source = opened(tmp_path, "format: yolo, images: train.txt, names: [cat, dog]")
    assert source.read(0).labels.tolist() == [2]


def test_xml_may_have_a_namespace_and_capitals(tmp_path: Path) -> None:
    box = "<Xmin>1</Xmin><Ymin>1</Ymin><Xmax>9</Xmax><Ymax>9</Ymax>"
    inner = f"<Object><Name>cat</Name><bndbox>{box}</bndbox></Object>"
    xml = f'<annotation xmlns="http://example.org">{inner}</annotation>'
    (item,), _ = read_annotation(write(tmp_path / "a.xml", xml))
    assert (item.name, item.box) == ("cat", (0, 0, 9, 9))
    twice = f"<a><object><name>cat</name>{2 * f'<bndbox>{box}</bndbox>'}</object></a>"
    (item,), _ = read_annotation(write(tmp_path / "b.xml", twice))
    assert (item.box, item.written) == (None, "2 bndbox; an object has one")


@pytest.mark.parametrize(
    ("written", "expected"), [("0", False), ("", False), ("1", True), ("True", True), ("1.0", True)]
)
def test_difficult_is_a_flag_however_it_is_written(
    tmp_path: Path, written: str, expected: bool
) -> None:
    box = "<xmin>1</xmin><ymin>1</ymin><xmax>9</xmax><ymax>9</ymax>"
    inner = f"<name>cat</name><difficult>{written}</difficult><bndbox>{box}</bndbox>"
    xml = f"<a><object>{inner}</object></a>"
    objects, _ = read_annotation(write(tmp_path / "a.xml", xml))
    assert [item.ignore for item in objects] == [expected]
