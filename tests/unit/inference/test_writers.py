"""The text of label files for scenes with known content."""

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, suppress
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

import blitznet.extras
from blitznet.classes import COCO_CLASSES, coco_category_ids, voc_palette
from blitznet.errors import InputError
from blitznet.inference.writers import AddScene
from blitznet.inference.writers.coco_writer import coco_labels, mask_polygons, signed_area
from blitznet.inference.writers.label_formats import (
    LabelFormat,
    check_label_formats,
    parse_label_formats,
)
from blitznet.inference.writers.voc_writer import voc_labels
from blitznet.inference.writers.yolo_writer import yolo_labels
from blitznet.scene import Scene
from known_scene import make_scene
from result_files import files_in

NAMES = ("background", "cat", "traffic light")
# pycocotools 2.0.11 under numpy 2.4
old_copy_protocol = pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")

Writer = Callable[[Path, Sequence[str]], AbstractContextManager[AddScene]]


# A cat from the left edge on, and a light with decimals; 40 x 20 pixels.
known_scene = partial(make_scene, size=(40, 20), names=NAMES)
TWO = known_scene([[0, 4, 10, 20], [12.25, 2.5, 20.125, 10]], [1, 2], scores=[0.9877, 0.5])
NOTHING = known_scene([], [])


def write(
    writer: Writer,
    folder: Path,
    scenes: dict[str, Scene],
    names: tuple[str, ...] = NAMES,
    suffix: str = ".jpg",
) -> Path:
    with writer(folder, names) as add:
        for name, scene in scenes.items():
            add(scene, name, f"trip/{name}{suffix}")
    return folder


def read_coco(folder: Path) -> dict[str, Any]:
    content: dict[str, Any] = json.loads((folder / "instances.json").read_text())
    return content


def half_map(label: int = 1) -> np.ndarray:
    """(20, 40): rows 4 to 19 of columns 0 to 9 are of one class."""
    seg_map = np.zeros((20, 40), np.uint8)
    seg_map[4:, :10] = label
    return seg_map


def test_coco_holds_images_boxes_and_classes(tmp_path: Path) -> None:
    content = read_coco(write(coco_labels, tmp_path, {}))  # still a file that loads
    assert (content["images"], content["annotations"]) == ([], [])
    content = read_coco(write(coco_labels, tmp_path, {"a": TWO, "b": NOTHING}))
    assert content["images"] == [
        {"id": 1, "file_name": "trip/a.jpg", "width": 40, "height": 20},
        {"id": 2, "file_name": "trip/b.jpg", "width": 40, "height": 20},
    ]
    assert content["categories"] == [
        {"id": 1, "name": "cat", "supercategory": ""},
        {"id": 2, "name": "traffic light", "supercategory": ""},
    ]
    assert content["licenses"] == []
    common = {"image_id": 1, "iscrowd": 0}
    assert content["annotations"] == [
        common
        | {"id": 1, "category_id": 1, "bbox": [0, 4, 10, 16], "area": 160.0, "score": 0.9877},
        common
        | {"id": 2, "category_id": 2, "bbox": [12.25, 2.5, 7.88, 7.5], "area": 59.06, "score": 0.5},
    ]


def test_cocos_own_classes_have_their_official_ids(tmp_path: Path) -> None:
    label = COCO_CLASSES.index("toothbrush")
    scene = make_scene([[0, 0, 9, 9]], [label], names=COCO_CLASSES)
    content = read_coco(write(coco_labels, tmp_path, {"a": scene}, COCO_CLASSES))
    assert label == 80
    assert content["annotations"][0]["category_id"] == 90
    assert content["categories"][11] == {"id": 13, "name": "stop sign", "supercategory": ""}
    assert len(content["categories"]) == 80


def test_official_ids_go_by_name_and_not_by_order() -> None:
    ids = coco_category_ids(("background", *sorted(COCO_CLASSES[1:])))
    assert ids == coco_category_ids(COCO_CLASSES)
    assert (ids["person"], ids["stop sign"], ids["backpack"]) == (1, 13, 27)
    assert coco_category_ids(("background", "stop sign", "person"))["person"] == 2


@old_copy_protocol
def test_pycocotools_loads_what_was_written(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    coco = pytest.importorskip("pycocotools.coco")
    pytest.importorskip("skimage")
    scene = known_scene([[0, 3, 11, 20], [20, 2, 30, 10]], [1, 2], half_map())
    write(coco_labels, tmp_path, {"a": scene, "b": NOTHING})
    dataset = coco.COCO(str(tmp_path / "instances.json"))
    assert dataset.getImgIds() == [1, 2]
    cat, light = dataset.loadAnns(dataset.getAnnIds())
    mask = dataset.annToMask(cat).astype(bool)
    assert mask.shape == (20, 40)
    assert (mask != (half_map() > 0)).sum() <= 4  # the corners
    assert cat["bbox"] == [0, 3, 11, 17]  # the box stays what was found
    assert cat["area"] == pytest.approx(160, abs=0.5)  # four corners are cut
    assert "segmentation" not in light  # no pixel of its class in its box
    assert light["area"] == 80


@old_copy_protocol
def test_the_polygons_of_a_mask_cover_it() -> None:
    mask_api = pytest.importorskip("pycocotools.mask")
    pytest.importorskip("skimage")
    rows, columns = np.mgrid[:90, :120]
    large = ((rows - 40) / 30) ** 2 + ((columns - 50) / 45) ** 2 < 1
    small = (rows - 75) ** 2 + (columns - 105) ** 2 < 8**2
    mask = large | small
    mask[2, 2] = True  # a speck
    polygons = mask_polygons(mask)
    assert len(polygons) == 2
    assert signed_area(polygons[0]) == pytest.approx(large.sum(), rel=0.01)  # largest first
    assert signed_area(polygons[1]) == pytest.approx(small.sum(), rel=0.02)
    drawn = mask_api.decode(mask_api.merge(mask_api.frPyObjects(polygons, 90, 120))) > 0
    assert (drawn & mask).sum() / (drawn | mask).sum() > 0.985
    assert sum(map(len, polygons)) / 2 < 80  # points that a person can move


def test_holes_are_filled_and_a_mask_may_touch_the_rim() -> None:
    pytest.importorskip("skimage")
    mask = np.ones((20, 30), bool)
    mask[5:15, 10:20] = False
    (polygon,) = mask_polygons(mask, left=100, top=200)
    assert (min(polygon[::2]), max(polygon[::2])) == (100, 130)
    assert (min(polygon[1::2]), max(polygon[1::2])) == (200, 220)
    assert signed_area(polygon) == pytest.approx(600, rel=0.02)
    assert mask_polygons(np.zeros((5, 4), bool)) == mask_polygons(np.zeros((0, 4), bool)) == []


def test_vocs_xml_counts_from_1_and_includes_the_last_pixel(tmp_path: Path) -> None:
    write(voc_labels, tmp_path, {"a": TWO})
    text = (tmp_path / "Annotations/a.xml").read_text()
    assert text.startswith("<annotation>\n\t<folder>trip</folder>\n\t<filename>a.jpg</filename>\n")
    rest = "<pose>Unspecified</pose><truncated>0</truncated><difficult>0</difficult>"
    assert re.sub(r"[\n\t]", "", text) == (
        "<annotation><folder>trip</folder><filename>a.jpg</filename>"
        "<source><database>BlitzNet predictions</database></source>"
        "<size><width>40</width><height>20</height><depth>3</depth></size><segmented>0</segmented>"
        f"<object><name>cat</name>{rest}"
        "<bndbox><xmin>1</xmin><ymin>5</ymin><xmax>10</xmax><ymax>20</ymax></bndbox></object>"
        f"<object><name>traffic light</name>{rest}<bndbox><xmin>13.25</xmin><ymin>3.5</ymin>"
        "<xmax>20.12</xmax><ymax>10</ymax></bndbox></object></annotation>"
    )


def test_voc_without_maps_writes_xml_a_list_and_a_label_map(tmp_path: Path) -> None:
    write(voc_labels, tmp_path, {"a": TWO, "b": NOTHING, "two words": TWO})
    files = [f"Annotations/{name}.xml" for name in ("a", "b", "two words")]
    assert files_in(tmp_path) == [*files, "ImageSets/Main/default.txt", "labelmap.txt"]
    assert (tmp_path / "ImageSets/Main/default.txt").read_text() == 'a\nb\n"two words"\n'
    assert (tmp_path / "labelmap.txt").read_text() == (
        "# label:color_rgb:parts:actions\n"
        "background:0,0,0::\n"
        "cat:128,0,0::\n"
        "traffic light:0,128,0::\n"
    )


def test_vocs_maps_are_class_ids_in_vocs_colours(tmp_path: Path) -> None:
    scene = known_scene([[0, 3, 11, 20]], [2], half_map(2))
    write(voc_labels, tmp_path, {"a": scene})
    with Image.open(tmp_path / "SegmentationClass/a.png") as stored:
        assert stored.mode == "P"
        assert stored.getpalette()[:9] == voc_palette()[:3].ravel().tolist()
        np.testing.assert_array_equal(stored, half_map(2))
    assert ET.parse(tmp_path / "Annotations/a.xml").findtext("segmented") == "1"
    assert (tmp_path / "ImageSets/Segmentation/default.txt").read_text() == "a\n"


def test_a_file_name_that_is_no_text_does_not_make_xml_that_cannot_be_read(tmp_path: Path) -> None:
    with voc_labels(tmp_path, NAMES) as add:
        add(NOTHING, "a", "b\udcff\x01<&>.jpg")
    tree = ET.parse(tmp_path / "Annotations/a.xml")
    assert tree.findtext("filename") == "b??<&>.jpg"


def test_a_class_name_that_a_label_map_cannot_hold_is_said(tmp_path: Path) -> None:
    with (
        pytest.raises(InputError, match="'a:b' cannot be written in VOC's format"),
        voc_labels(tmp_path, ("background", "a:b")),
    ):
        pass


def test_yolo_rows_are_class_centre_and_size(tmp_path: Path) -> None:
    write(yolo_labels, tmp_path, {"a": TWO, "b": NOTHING}, suffix=".PNG")
    labels = [f"labels/train/{name}.txt" for name in "ab"]
    assert files_in(tmp_path) == ["data.yaml", *labels, "train.txt"]
    assert (tmp_path / "labels/train/a.txt").read_text() == (
        "0 0.125000 0.600000 0.250000 0.800000\n1 0.404687 0.312500 0.196875 0.375000\n"
    )
    assert (tmp_path / "labels/train/b.txt").read_text() == ""
    assert (tmp_path / "train.txt").read_text() == ("./images/train/a.PNG\n./images/train/b.PNG\n")
    text = (tmp_path / "data.yaml").read_text()
    assert text == "train: train.txt\nnames:\n  0: cat\n  1: traffic light\n"
    write(yolo_labels, tmp_path, {}, ("background", "no", "a: b", "Bär", "007"))
    content = yaml.safe_load((tmp_path / "data.yaml").read_text(encoding="utf-8"))
    assert content["names"] == {0: "no", 1: "a: b", 2: "Bär", 3: "007"}


@pytest.mark.parametrize(
    ("writer", "partial"),
    [
        (coco_labels, ["instances.jsonl"]),
        (voc_labels, ["Annotations/a.xml", "labelmap.txt"]),
        (yolo_labels, ["data.yaml", "labels/train/a.txt"]),
    ],
)
def test_lists_are_whole_or_absent(writer: Writer, partial: list[str], tmp_path: Path) -> None:
    labels = writer(tmp_path, NAMES)
    add = labels.__enter__()
    add(TWO, "a", "a.jpg")
    assert not labels.__exit__(KeyboardInterrupt, KeyboardInterrupt(), None)
    assert files_in(tmp_path) == partial


@pytest.mark.parametrize("writer", [coco_labels, voc_labels, yolo_labels])
def test_a_folder_that_cannot_be_made_gets_one_line(writer: Writer, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(InputError, match=r"file.*: cannot be written \("),
        writer(tmp_path / "file" / "voc", NAMES),
    ):
        pass


def test_formats_are_asked_for_one_by_one_or_with_commas() -> None:
    assert parse_label_formats(()) == ()
    assert parse_label_formats(("voc, yolo", "coco", "voc")) == ("voc", "yolo", "coco")
    for wrong in ("kitti", ""):
        text = f"no label format is called '{wrong}'; choose from coco, voc, yolo"
        with pytest.raises(InputError, match=text):
            parse_label_formats((wrong,))


def test_formats_of_boxes_need_a_network_that_finds_them() -> None:
    check_label_formats(("voc",), False, True)
    with pytest.raises(InputError, match="holds boxes, and this network finds none; use --format"):
        check_label_formats(("voc", "yolo"), False, True)


def test_outlines_without_scikit_image_say_how_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blitznet.extras, "find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"pip install 'blitznet\[labels\]'"):
        check_label_formats(("coco",), True, True)
    check_label_formats(("coco",), True, False)


@pytest.mark.parametrize("writer", [coco_labels, voc_labels, yolo_labels])
@pytest.mark.parametrize("is_complete", [True, False])
def test_labels_continued_are_those_written_at_once(
    tmp_path: Path, writer: LabelFormat, is_complete: bool
) -> None:
    """The first part ends normally, or is interrupted after an image that must be repeated."""
    scenes = {"a": TWO, "b": NOTHING, "trip/c": TWO, "d": TWO}
    added = [(name, f"trip/{name}.jpg") for name in scenes]
    write(writer, tmp_path / "whole", scenes)
    first = ("a", "b") if is_complete else ("a", "b", "trip/c")
    with suppress(KeyboardInterrupt), writer(tmp_path / "parts", NAMES, ()) as add:
        for name in first:
            add(scenes[name], name, f"trip/{name}.jpg")
        if not is_complete:
            raise KeyboardInterrupt
    with writer(tmp_path / "parts", NAMES, added[:2]) as add:
        for name, path in added[2:]:
            add(scenes[name], name, path)
    assert files_in(tmp_path / "parts") == files_in(tmp_path / "whole")
    for name in files_in(tmp_path / "whole"):
        assert (tmp_path / "parts" / name).read_text() == (tmp_path / "whole" / name).read_text()
