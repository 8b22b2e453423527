"""The VOC reader on drawn files whose content is written out here, and on damaged ones."""

import re
import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from blitznet.classes import IGNORE_INDEX, VOC_CLASSES
from blitznet.data.labels import ClassTable, PictureLabels, read_objects
from blitznet.data.seg_map import VOC_CODES, MapCodes, MapFile
from blitznet.data.source import Subset
from blitznet.data.voc import VocEntry, VocSource, read_image_set
from blitznet.data.voc import read_annotation as read_objects_of
from blitznet.errors import LabelError
from fixtures.make_fixtures import VOC_MINI, draw

AEROPLANE, BUS, CAR, CAT, PERSON, TVMONITOR = (
    VOC_CLASSES.index(name) for name in ("aeroplane", "bus", "car", "cat", "person", "tvmonitor")
)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """A copy of `voc_mini` to damage."""
    return shutil.copytree(VOC_MINI, tmp_path / "VOC2012")


def open_source(
    root: Path = VOC_MINI,
    image_set: str = "Main/trainval",
    names: tuple[str, ...] = VOC_CLASSES,
    boxes: bool = True,
    masks: str | None = "SegmentationClass",
) -> VocSource:
    entry = VocEntry(root=root, image_set=image_set, boxes=boxes, masks=masks)
    return entry.open_all(Path(), ClassTable(names))


def read_annotation(
    path: Path, names: tuple[str, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    objects, size = read_objects_of(path)
    return read_objects(PictureLabels(path, objects), size, ClassTable(names))


def one_object(path: Path, **texts: str) -> Path:
    """An annotation with one object; `texts` replaces the text of its tags."""
    tags = {"name": "cat", "xmin": "1", "ymin": "1", "xmax": "9", "ymax": "9"} | texts
    corners = "".join(f"<{t}>{tags[t]}</{t}>" for t in ("xmin", "ymin", "xmax", "ymax"))
    path.write_text(
        f"<annotation><object><name>{tags['name']}</name>"
        f"<bndbox>{corners}</bndbox></object></annotation>"
    )
    return path


def raises(text: str) -> pytest.RaisesExc[LabelError]:
    """The whole message, which is one line."""
    return pytest.raises(LabelError, match=f"^{re.escape(text)}$")


def test_committed_fixtures_are_what_the_script_draws(tmp_path: Path) -> None:
    draw(tmp_path)
    drawn = sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*") if p.is_file())
    committed = sorted(p.relative_to(VOC_MINI) for p in VOC_MINI.rglob("*") if p.is_file())
    assert drawn == committed
    for path in drawn:
        if path.suffix in (".xml", ".txt"):
            assert (VOC_MINI / path).read_text() == (tmp_path / path).read_text(), path
            continue
        with Image.open(VOC_MINI / path) as old, Image.open(tmp_path / path) as new:
            assert old.mode == new.mode
            assert old.getpalette() == new.getpalette()
            difference = np.abs(np.asarray(old).astype(int) - np.asarray(new))
            # PNG is exact; another JPEG library may round its coefficients differently.
            assert difference.max() <= (8 if path.suffix == ".jpg" else 0), path


def test_inclusive_corners_from_1_become_continuous_ones_from_0() -> None:
    boxes, labels, difficult = read_annotation(
        VOC_MINI / "Annotations" / "000004.xml", VOC_CLASSES
    )  # bus 9 7 48 38, car 53 33 62 38
    assert boxes.tolist() == [[8, 6, 48, 38], [52, 32, 62, 38]]
    assert boxes.dtype == np.float32
    assert labels.tolist() == [BUS, CAR]
    assert difficult.tolist() == [False, True]


def test_decimals_are_kept() -> None:
    boxes, labels, _ = read_annotation(VOC_MINI / "Annotations" / "000003.xml", VOC_CLASSES)
    expected = np.array([[5.6, 13.6, 34.4, 42.4], [39.75, 7.75, 60.25, 28.25]], np.float32)
    np.testing.assert_array_equal(boxes, expected)
    assert labels.tolist() == [CAT, TVMONITOR]


def test_parts_inside_an_object_are_passed_over() -> None:
    boxes, labels, _ = read_annotation(VOC_MINI / "Annotations" / "000002.xml", VOC_CLASSES)
    assert boxes.tolist() == [[4, 22, 36, 42], [40, 6, 58, 44]]
    assert labels.tolist() == [CAR, PERSON]


def test_a_missing_difficult_means_not_difficult() -> None:
    assert "difficult" not in (VOC_MINI / "Annotations" / "000001.xml").read_text()
    _, labels, difficult = read_annotation(VOC_MINI / "Annotations" / "000001.xml", VOC_CLASSES)
    assert labels.tolist() == [AEROPLANE]
    assert difficult.tolist() == [False]


def test_an_annotation_without_objects_gives_empty_arrays(tmp_path: Path) -> None:
    path = tmp_path / "a.xml"
    path.write_text("<annotation/>")
    boxes, labels, difficult = read_annotation(path, VOC_CLASSES)
    assert (boxes.shape, labels.shape, difficult.shape) == ((0, 4), (0,), (0,))
    assert (boxes.dtype, labels.dtype, difficult.dtype) == (np.float32, np.int64, np.bool_)


def test_a_picture_comes_with_its_boxes_and_its_map() -> None:
    sample = open_source().read(3)
    assert sample.source == str(VOC_MINI / "JPEGImages" / "000004.jpg")
    assert sample.size == (64, 48)
    assert sample.image.dtype == np.uint8
    # The bus is drawn as (30, 60, 210) under noise of +-12.
    bus = sample.image[8:36, 10:46].reshape(-1, 3).mean(axis=0)
    np.testing.assert_allclose(bus, (30, 60, 210), atol=2)
    assert sample.boxes is not None
    assert sample.boxes.shape == (2, 4)
    assert sample.seg_map is not None
    assert sample.seg_map.dtype == np.uint8
    # Row 20 from left to right: rim of two pixels, bus, rim.
    row = [0] * 7 + [255] * 2 + [BUS] * 38 + [255] * 2 + [0] * 15
    assert sample.seg_map[20].tolist() == row


def test_a_picture_without_a_file_in_the_folder_of_maps_has_none() -> None:
    sample = open_source().read(4)
    assert sample.size == (48, 64)
    assert sample.seg_map is None
    assert sample.boxes is not None


def test_maps_are_not_read_where_no_folder_is_named() -> None:
    assert open_source(masks=None).read(0).seg_map is None


def test_boxes_are_none_and_not_empty_where_they_are_not_to_be_read() -> None:
    sample = open_source(image_set="Segmentation/trainval", boxes=False).read(0)
    assert sample.boxes is None
    assert sample.labels.shape == sample.difficult.shape == (0,)


def test_the_second_column_of_a_list_of_one_class_is_passed_over() -> None:
    assert open_source(image_set="Main/cat_trainval").ids == open_source().ids
    assert len(open_source()) == 6


def test_labels_and_map_follow_the_order_of_the_networks_own_classes() -> None:
    names = ("background", "tvmonitor", "cat")
    sample = open_source(names=names).read(2)
    assert sample.labels.tolist() == [2, 1]
    assert sample.seg_map is not None
    assert sample.seg_map[28, 20] == 2
    assert sample.seg_map[18, 50] == 1
    assert set(np.unique(sample.seg_map)) == {0, 1, 2, IGNORE_INDEX}


def test_a_box_of_one_pixel_has_an_area_and_a_reversed_one_has_none(tmp_path: Path) -> None:
    path = one_object(tmp_path / "a.xml", xmin="9", xmax="9")
    assert read_annotation(path, VOC_CLASSES)[0].tolist() == [[8, 0, 9, 9]]
    path = one_object(tmp_path / "a.xml", xmin="10", xmax="9")
    with raises(f"{path}, object 1: box [10.0, 1.0, 9.0, 9.0] has no area"):
        read_annotation(path, VOC_CLASSES)


@pytest.mark.parametrize(
    "content",
    [
        b"\xff\xd8\xff\xe0 a JPEG",
        b'<?xml version="1.0" encoding="shift_jis"?><annotation/>',
    ],
)
def test_a_damaged_annotation_is_named(root: Path, content: bytes) -> None:
    path = root / "Annotations" / "000001.xml"
    path.write_bytes(content)
    with pytest.raises(LabelError, match=f"^{re.escape(str(path))} cannot be read as XML: .+$"):
        open_source(root).read(0)


def test_a_list_that_is_no_text_is_refused(root: Path) -> None:
    path = root / "ImageSets" / "Main" / "trainval.txt"
    path.write_bytes(b"\xff\xfe\x00")
    with raises(f"{path} is no text in UTF-8; save it as UTF-8"):
        open_source(root)


def test_a_map_with_ids_that_no_class_stands_for_is_refused() -> None:
    path = VOC_MINI / "SegmentationClass" / "000002.png"
    codes = MapCodes(((0, "background"), (PERSON, "person")))
    with raises(
        f"{path}: 964 pixels have values that no class of the network stands for: "
        f"{CAR}, {PERSON} (person)"
    ):
        MapFile(path, codes).read((64, 48), ClassTable(("background", "cat")))


def test_a_greyscale_png_of_class_ids_is_a_map_too(tmp_path: Path) -> None:
    ids = np.array([[0, 20], [7, 255]], np.uint8)
    Image.fromarray(ids).save(tmp_path / "m.png")
    seg_map = MapFile(tmp_path / "m.png", VOC_CODES).read((2, 2), ClassTable(VOC_CLASSES))
    assert seg_map.tolist() == ids.tolist()


@pytest.mark.parametrize("damage", ["text", "half", "header"])
def test_a_damaged_map_is_named(root: Path, damage: str) -> None:
    path = root / "SegmentationClass" / "000001.png"
    content = path.read_bytes()
    damaged = {
        "text": b"no image",
        "half": content[: len(content) // 2],
        "header": content[:11] + b"\x01" + content[12:],  # Pillow: ValueError, no OSError
    }
    path.write_bytes(damaged[damage])
    with pytest.raises(
        LabelError, match=f"^{re.escape(str(path))} cannot be read as an image: .+$"
    ):
        open_source(root).read(0)


def test_ids_with_blanks_may_be_quoted_as_cvat_writes_them(root: Path) -> None:
    path = root / "ImageSets" / "Main" / "default.txt"
    path.write_text('a\n"two words"\nthree more words\n')
    assert read_image_set(path) == ["a", "two words", "three more words"]


def test_pictures_are_named_by_their_ids() -> None:
    source = open_source()
    assert source.picture_id(2) == "000003"
    assert Subset(source, [4, 1]).picture_id(0) == "000005"
