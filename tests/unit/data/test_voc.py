"""The VOC reader on drawn files with known content, and on damaged files."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from blitznet.classes import IGNORE_INDEX, VOC_CLASSES
from blitznet.data.labels import ClassTable, ImageLabels, read_objects
from blitznet.data.seg_map import MapEncoding, MapFile
from blitznet.data.source import LabelSource
from blitznet.data.voc import VocEntry
from blitznet.data.voc import read_annotation as read_objects_of
from blitznet.errors import LabelError
from fixtures.label_files import assert_same_files, raises
from fixtures.make_fixtures import VOC_MINI, draw

AEROPLANE, BUS, CAR, CAT, PERSON, TVMONITOR = (
    VOC_CLASSES.index(name) for name in ("aeroplane", "bus", "car", "cat", "person", "tvmonitor")
)


def open_source(
    root: Path = VOC_MINI,
    image_set: str = "Main/trainval",
    names: tuple[str, ...] = VOC_CLASSES,
    boxes: bool = True,
    masks: str | None = "SegmentationClass",
) -> LabelSource:
    entry = {"root": root, "image_set": image_set, "boxes": boxes, "masks": masks}
    return VocEntry.model_validate(entry).open(Path(), names)


def read_annotation(
    path: Path, names: tuple[str, ...]
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    objects, size = read_objects_of(path)
    return read_objects(ImageLabels(path, objects), size or (500, 500), ClassTable(names))


def one_object(path: Path, **texts: str) -> Path:
    """An annotation with one object; `texts` replaces the text of its tags."""
    tags = {"name": "cat", "xmin": "1", "ymin": "1", "xmax": "9", "ymax": "9"} | texts
    corners = "".join(f"<{t}>{tags[t]}</{t}>" for t in ("xmin", "ymin", "xmax", "ymax"))
    path.write_text(
        f"<annotation><object><name>{tags['name']}</name>"
        f"<bndbox>{corners}</bndbox></object></annotation>"
    )
    return path


def test_missing_objects_can_be_void(tmp_path: Path) -> None:
    Image.new("RGB", (20, 10)).save(tmp_path / "a.jpg")
    one_object(tmp_path / "a.xml", xmin="5", xmax="12")
    (tmp_path / "Maps").mkdir()
    Image.new("L", (20, 10)).save(tmp_path / "Maps" / "a.png")
    entry = VocEntry(root=tmp_path, masks=Path("Maps"))
    for void_missing, void in ((False, []), (True, range(4, 12))):
        entry = entry.model_copy(update={"void_missing": void_missing})
        seg_map = entry.open(Path(), VOC_CLASSES).read(0).seg_map
        assert seg_map is not None
        assert np.flatnonzero(seg_map[0] == IGNORE_INDEX).tolist() == [*void]


def test_committed_fixtures_are_what_the_script_draws(tmp_path: Path) -> None:
    draw(tmp_path)
    assert_same_files(tmp_path, VOC_MINI)


@pytest.mark.parametrize(
    ("name", "boxes", "labels", "difficult"),
    [
        ("000004", [[8, 6, 48, 38], [52, 32, 62, 38]], [BUS, CAR], [False, True]),
        # Decimals are kept.
        ("000003", [[5.6, 13.6, 34.4, 42.4], [39.75, 7.75, 60.25, 28.25]], [CAT, TVMONITOR], None),
        # The person has parts, which are left out.
        ("000002", [[4, 22, 36, 42], [40, 6, 58, 44]], [CAR, PERSON], None),
        # It has no tag `difficult`.
        ("000001", [[14, 12, 50, 28]], [AEROPLANE], [False]),
    ],
)
def test_inclusive_corners_from_1_become_continuous_ones_from_0(
    name: str, boxes: list[list[float]], labels: list[int], difficult: list[bool] | None
) -> None:
    read = read_annotation(VOC_MINI / "Annotations" / f"{name}.xml", VOC_CLASSES)
    np.testing.assert_array_equal(read[0], np.array(boxes, np.float32))
    assert read[1].tolist() == labels
    assert read[2].tolist() == (difficult or [False] * len(labels))
    assert [array.dtype for array in read] == [np.float32, np.int64, np.bool_]


def test_an_image_comes_with_its_boxes_and_its_map() -> None:
    sample = open_source().read(3)
    assert sample.source == str(VOC_MINI / "JPEGImages" / "000004.jpg")
    assert sample.size == (64, 48)
    assert sample.image.dtype == np.uint8
    # The bus is drawn as (30, 60, 210) under noise of +-12.
    bus = sample.image[8:36, 10:46].reshape(-1, 3).mean(axis=0)
    np.testing.assert_allclose(bus, (30, 60, 210), atol=2)
    assert sample.boxes.shape == (2, 4)
    assert sample.seg_map.dtype == np.uint8
    # Row 20 from left to right: rim of two pixels, bus, rim.
    row = [0] * 7 + [255] * 2 + [BUS] * 38 + [255] * 2 + [0] * 15
    assert sample.seg_map[20].tolist() == row


def test_what_is_not_there_or_not_to_be_read_is_none() -> None:
    source = open_source()
    assert source.read(4).seg_map is None  # it has no file in the folder of maps
    assert source.read(4).boxes is not None
    assert (source.image_id(2), source.subset([4, 1]).image_id(0)) == ("000003", "000005")
    sample = open_source(image_set="Segmentation/trainval", boxes=False, masks=None).read(0)
    assert sample.boxes is None
    assert sample.seg_map is None
    assert sample.labels.shape == sample.difficult.shape == (0,)


def test_the_second_column_of_a_list_of_one_class_is_passed_over() -> None:
    assert open_source(image_set="Main/cat_trainval").keys == open_source().keys
    assert len(open_source()) == 6


def test_labels_and_map_follow_the_order_of_the_networks_own_classes() -> None:
    names = ("background", "tvmonitor", "cat")
    sample = open_source(names=names).read(2)
    assert sample.labels.tolist() == [2, 1]
    assert sample.seg_map[28, 20] == 2
    assert sample.seg_map[18, 50] == 1
    assert set(np.unique(sample.seg_map)) == {0, 1, 2, IGNORE_INDEX}


def test_a_box_of_one_pixel_has_an_area_and_a_reversed_one_has_none(tmp_path: Path) -> None:
    path = one_object(tmp_path / "a.xml", xmin="9", xmax="9")
    assert read_annotation(path, VOC_CLASSES)[0].tolist() == [[8, 0, 9, 9]]
    path = one_object(tmp_path / "a.xml", xmin="10", xmax="9")
    with raises(f"{path}, object 1: box [10.0, 1.0, 9.0, 9.0] has no area"):
        read_annotation(path, VOC_CLASSES)


def test_a_map_with_ids_that_no_class_stands_for_is_refused() -> None:
    path = VOC_MINI / "SegmentationClass" / "000002.png"
    codes = MapEncoding({0: "background", PERSON: "person", 255: "ignore"})
    with raises(
        f"{path}: 964 pixels have values without a class of the network: {CAR}, {PERSON} (person)"
    ):
        MapFile(path, codes)((64, 48), ClassTable(("background", "cat")))


def test_more_objects_than_an_image_has_are_refused(tmp_path: Path) -> None:
    (tmp_path / "a.xml").write_text(f"<annotation>{'<object/>' * 100_001}</annotation>")
    with pytest.raises(LabelError, match=r"a\.xml has 100001 objects; an image has at most 100000"):
        read_objects_of(tmp_path / "a.xml")
