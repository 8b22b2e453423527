"""What labelling programs export is read as they write it.

The text files in `fixtures/tool_exports` follow the programs' own code or published examples; all
label one street of 64x48 pixels with a car and a cat. Its images and maps are drawn here.

Not read is Label Studio's "brush to PNG": a file for each region (task-1-annotation-1-by-1-tag-
road-0.png) and no file that says which image task 1 is.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from blitznet.data.description import DataDescription
from blitznet.data.source import LabelSource

EXPORTS = Path(__file__).parents[2] / "fixtures" / "tool_exports"
ROBOFLOW = "street_jpg.rf.5b0c7d2f4e8a91b36c7d0e1f2a3b4c5d"
SIZE = (64, 48)
BOXES = [[10, 20, 30, 40], [40, 8, 56, 24]]
COLOURS = np.array([(0, 0, 0), (61, 61, 245), (250, 50, 83)], np.uint8)  # as in labelmap.txt

# pycocotools 2.0.11 with numpy 2.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")


def street() -> np.ndarray:
    """(48, 64) uint8: the map, 1 = car, 2 = cat."""
    ids = np.zeros(SIZE[::-1], np.uint8)
    for index, (x1, y1, x2, y2) in enumerate(BOXES, start=1):
        ids[y1:y2, x1:x2] = index
    return ids


def draw(path: Path, pixels: np.ndarray | None = None) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(COLOURS[street()] if pixels is None else pixels).save(path)


def open_export(folder: Path, images: list[str], entry: dict[str, object]) -> LabelSource:
    """Copy an export, draw its images and open it."""
    shutil.copytree(EXPORTS / Path(images[0]).parts[0], folder / Path(images[0]).parts[0])
    for name in images:
        draw(folder / name)
    description = DataDescription(classes=["car", "cat"], splits={"all": [entry]}, folder=folder)
    return description.open_split("all")[0]


def assert_is_street(source: LabelSource, has_map: bool = False) -> None:
    sample = source.read(0)
    assert sample.boxes is not None
    np.testing.assert_allclose(sample.boxes, BOXES, atol=1e-4)  # CVAT's YOLO has six decimals
    assert sample.labels.tolist() == [1, 2]
    assert not sample.difficult.any()
    assert (sample.seg_map is not None) == has_map
    if sample.seg_map is not None:
        np.testing.assert_array_equal(sample.seg_map, street())


@pytest.mark.parametrize("image_set", ["Main/default", "Main/car_default", None])
def test_cvats_pascal_voc(tmp_path: Path, image_set: str | None) -> None:
    draw(tmp_path / "cvat_voc_maps" / "street_000001.png", COLOURS[street()])
    entry = {
        "format": "voc",
        "root": "cvat_voc",
        "image_set": image_set,
        "masks": "../cvat_voc_maps",
        "mask_colours": "cvat_voc/labelmap.txt",
        "corners": "from_0",
    }
    names = [f"cvat_voc/JPEGImages/street_00000{n}.png" for n in (1, 2)]
    source = open_export(tmp_path, names, entry)
    assert len(source) == 2
    assert_is_street(source, has_map=True)
    empty = source.read(1)
    assert empty.boxes is not None
    assert empty.boxes.shape == (0, 4)
    assert empty.seg_map is None


def test_cvats_segmentation_mask(tmp_path: Path) -> None:
    draw(tmp_path / "maps" / "street_000001.png", COLOURS[street()])
    entry = {
        "format": "masks",
        "images": "cvat_masks/JPEGImages",
        "masks": "maps",
        "colours": "cvat_masks/labelmap.txt",
    }
    source = open_export(tmp_path, ["cvat_masks/JPEGImages/street_000001.jpg"], entry)
    seg_map = source.read(0).seg_map
    assert seg_map is not None
    assert seg_map.tolist() == street().tolist()


def test_cvats_darknet_yolo(tmp_path: Path) -> None:
    entry = {"format": "yolo", "images": "cvat_yolo/train.txt", "names": "cvat_yolo/obj.names"}
    names = [f"cvat_yolo/obj_train_data/street_00000{n}.png" for n in (1, 2)]
    source = open_export(tmp_path, names, entry)
    assert len(source) == 2
    assert_is_street(source)
    assert source.labels(1).objects == ()


@pytest.mark.parametrize(
    ("image", "images", "annotations"),
    [
        (
            "cvat_coco/images/street_000001.png",
            "cvat_coco/images",
            "cvat_coco/annotations/instances_default.json",
        ),
        (
            "label_studio_coco/images/3f2a91c4-street.png",
            "label_studio_coco",
            "label_studio_coco/result.json",
        ),
        (
            f"roboflow_coco/train/{ROBOFLOW}.jpg",
            "roboflow_coco/train",
            "roboflow_coco/train/_annotations.coco.json",
        ),
        ("labelme_coco/JPEGImages/street.jpg", "labelme_coco", "labelme_coco/annotations.json"),
    ],
)
def test_everybodys_coco(tmp_path: Path, image: str, images: str, annotations: str) -> None:
    entry = {
        "format": "coco",
        "images": images,
        "annotations": annotations,
        "masks": "from_instances",
    }
    assert_is_street(open_export(tmp_path, [image], entry), has_map=True)


def test_label_studios_yolo(tmp_path: Path) -> None:
    entry = {
        "format": "yolo",
        "root": "label_studio_yolo",
        "names": "label_studio_yolo/classes.txt",
    }
    image = "label_studio_yolo/images/3f2a91c4-street.png"
    assert_is_street(open_export(tmp_path, [image], entry))


def test_label_studios_voc(tmp_path: Path) -> None:
    entry = {"format": "voc", "root": "label_studio_voc", "corners": "from_0"}
    image = "label_studio_voc/images/3f2a91c4-street.png"
    assert_is_street(open_export(tmp_path, [image], entry))


def test_roboflows_yolo(tmp_path: Path) -> None:
    entry = {
        "format": "yolo",
        "data": "roboflow_yolo/data.yaml",
        "split": "train",
        "masks": "from_instances",
    }
    names = [f"roboflow_yolo/{part}/images/{ROBOFLOW}.jpg" for part in ("train", "valid")]
    source = open_export(tmp_path, names, entry)
    assert len(source) == 1
    assert_is_street(source, has_map=True)
    val = DataDescription(
        classes=["car", "cat"], splits={"val": [entry | {"split": "val"}]}, folder=tmp_path
    )
    assert val.open_split("val")[0].labels(0).objects == ()


def test_roboflows_voc_has_xml_files_beside_the_images(tmp_path: Path) -> None:
    entry = {"format": "voc", "root": "roboflow_voc/train"}
    assert_is_street(open_export(tmp_path, [f"roboflow_voc/train/{ROBOFLOW}.jpg"], entry))


def test_roboflows_masks(tmp_path: Path) -> None:
    entry = {
        "format": "masks",
        "images": "roboflow_masks/train",
        "masks": "roboflow_masks/train",
        "values": "roboflow_masks/train/_classes.csv",
        "suffix": "_mask",
    }
    shutil.copytree(EXPORTS / "roboflow_masks", tmp_path / "roboflow_masks")
    draw(tmp_path / "roboflow_masks" / "train" / f"{ROBOFLOW}.jpg")
    draw(tmp_path / "roboflow_masks" / "train" / f"{ROBOFLOW}_mask.png", street())
    description = DataDescription(classes=["car", "cat"], splits={"all": [entry]}, folder=tmp_path)
    (source,) = description.open_split("all")
    assert len(source) == 1
    seg_map = source.read(0).seg_map
    assert seg_map is not None
    assert seg_map.tolist() == street().tolist()


@pytest.mark.parametrize("names", ["class_names.txt", "labels.txt"])
def test_labelmes_voc(tmp_path: Path, names: str) -> None:
    ids = street()
    ids[0, :4] = 255  # -1 in labelme2voc: __ignore__
    draw(tmp_path / "maps" / "street.png", ids)
    entry = {
        "format": "masks",
        "images": "labelme_voc/JPEGImages",
        "masks": "maps",
        "values": f"labelme_voc/{names}",
    }
    source = open_export(tmp_path, ["labelme_voc/JPEGImages/street.jpg"], entry)
    seg_map = source.read(0).seg_map
    assert seg_map is not None
    assert seg_map.tolist() == ids.tolist()


def test_xml_beside_images_leaves_out_the_folder_of_maps(tmp_path: Path) -> None:
    entry = {
        "format": "voc",
        "root": "roboflow_voc/train",
        "masks": "maps",
        "mask_values": ["background", "car", "cat"],
    }
    shutil.copytree(EXPORTS / "roboflow_voc", tmp_path / "roboflow_voc")
    draw(tmp_path / "roboflow_voc" / "train" / f"{ROBOFLOW}.jpg")
    draw(tmp_path / "roboflow_voc" / "train" / "maps" / f"{ROBOFLOW}.png", street())
    description = DataDescription(classes=["car", "cat"], splits={"all": [entry]}, folder=tmp_path)
    (source,) = description.open_split("all")
    assert len(source) == 1
    assert_is_street(source, has_map=True)


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("labelmap.txt", "car\n", "labelmap.txt, line 1: 'car' is not NAME:R,G,B:PARTS:ACTIONS"),
        ("labelmap.txt", "# label\ncar:red::\n", "labelmap.txt, line 2: 'red' is not a colour"),
        (
            "_classes.csv",
            "Pixel Value, Class\ncar, 1\n",
            "below its heading, lines are VALUE, CLAS",
        ),
        ("_classes.csv", "Pixel Value, Class\n1\n", "below its heading, lines are VALUE, CLASS"),
        ("class_names.txt", "\n", "class_names.txt has a blank line or no name; it needs one name"),
        ("class_names.txt", "cat\n\ndog", "class_names.txt has a blank line or no name"),
    ],
)
def test_a_file_of_names_that_cannot_be_used_is_named(
    tmp_path: Path, name: str, text: str, problem: str
) -> None:
    (tmp_path / name).write_text(text)
    key = "colours" if name == "labelmap.txt" else "values"
    entry = {"format": "masks", "images": "i", "masks": "m", key: name}
    description = DataDescription(classes=["car"], splits={"all": [entry]}, folder=tmp_path)
    with pytest.raises(ValueError, match=problem):
        description.open_split("all")
