"""Exports of labelling tools are read as written.

The text files in `fixtures/tool_exports` follow the tools' own code or published examples; all
label one street of 64x48 pixels with a car and a cat. Its images and maps are drawn here.

Label Studio's "brush to PNG" is not supported: it has a file per region (task-1-annotation-1-by-1-
tag-road-0.png), and none that says which image task 1 is.
"""

import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from PIL import Image

from blitznet.data.description import DataDescription

EXPORTS = Path(__file__).parents[2] / "fixtures" / "tool_exports"
SIZE = (64, 48)
BOXES = [[10, 20, 30, 40], [40, 8, 56, 24]]
COLOURS = np.array([(0, 0, 0), (61, 61, 245), (250, 50, 83)], np.uint8)  # as in labelmap.txt

# By name: an entry; its images, of which all but the first show nothing; and what is drawn as the
# first one's map, in ids or in colours. Without `masks` only boxes are read, of a format of masks
# only maps.
CASES = """
cvat voc: &cvat_voc
  entry: &cvat_voc_entry {format: voc, root: cvat_voc, image_set: Main/default, corners: from_0,
    masks: ../maps, mask_colours: cvat_voc/labelmap.txt}
  images: [cvat_voc/JPEGImages/street_000001.png, cvat_voc/JPEGImages/street_000002.png]
  colours: maps/street_000001.png
cvat voc, list of a class:
  {<<: *cvat_voc, entry: {<<: *cvat_voc_entry, image_set: Main/car_default}}
cvat voc, all there is:
  {<<: *cvat_voc, entry: {<<: *cvat_voc_entry, image_set: null}}
cvat segmentation mask:
  entry: {format: masks, images: cvat_masks/JPEGImages, masks: maps,
    colours: cvat_masks/labelmap.txt}
  images: [cvat_masks/JPEGImages/street_000001.jpg]
  colours: maps/street_000001.png
cvat darknet:
  entry: {format: yolo, images: cvat_yolo/train.txt, names: cvat_yolo/obj.names}
  images: [cvat_yolo/obj_train_data/street_000001.png, cvat_yolo/obj_train_data/street_000002.png]
cvat coco:
  entry: {format: coco, images: cvat_coco/images, masks: from_instances,
    annotations: cvat_coco/annotations/instances_default.json}
  images: [cvat_coco/images/street_000001.png, cvat_coco/images/street_000002.png]
label studio coco:
  entry: {format: coco, images: label_studio_coco, masks: from_instances,
    annotations: label_studio_coco/result.json}
  images: [label_studio_coco/images/3f2a91c4-street.png]
roboflow coco:
  entry: {format: coco, images: roboflow_coco/train, masks: from_instances,
    annotations: roboflow_coco/train/_annotations.coco.json}
  images: [roboflow_coco/train/ROBOFLOW.jpg]
labelme coco:
  entry: {format: coco, images: labelme_coco, masks: from_instances,
    annotations: labelme_coco/annotations.json}
  images: [labelme_coco/JPEGImages/street.jpg]
label studio yolo:
  entry: {format: yolo, root: label_studio_yolo, names: label_studio_yolo/classes.txt}
  images: [label_studio_yolo/images/3f2a91c4-street.png]
label studio voc:
  entry: {format: voc, root: label_studio_voc, corners: from_0}
  images: [label_studio_voc/images/3f2a91c4-street.png]
roboflow yolo:
  entry: {format: yolo, data: roboflow_yolo/data.yaml, split: train, masks: from_instances}
  images: [roboflow_yolo/train/images/ROBOFLOW.jpg]
roboflow voc, xml beside images:
  entry: {format: voc, root: roboflow_voc/train}
  images: [roboflow_voc/train/ROBOFLOW.jpg]
roboflow voc, maps in a folder beside images:
  entry: {format: voc, root: roboflow_voc/train, masks: maps, mask_values: [background, car, cat]}
  images: [roboflow_voc/train/ROBOFLOW.jpg]
  ids: roboflow_voc/train/maps/ROBOFLOW.png
roboflow masks:
  entry: {format: masks, images: roboflow_masks/train, masks: roboflow_masks/train,
    values: roboflow_masks/train/_classes.csv, suffix: _mask}
  images: [roboflow_masks/train/ROBOFLOW.jpg]
  ids: roboflow_masks/train/ROBOFLOW_mask.png
labelme voc: &labelme
  entry: {format: masks, images: labelme_voc/JPEGImages, masks: maps,
    values: labelme_voc/class_names.txt}
  images: [labelme_voc/JPEGImages/street.jpg]
  ids: maps/street.png
labelme voc, list of labels:
  <<: *labelme
  entry: {format: masks, images: labelme_voc/JPEGImages, masks: maps,
    values: labelme_voc/labels.txt}
""".replace("ROBOFLOW", "street_jpg.rf.5b0c7d2f4e8a91b36c7d0e1f2a3b4c5d")


def street() -> np.ndarray:
    """(48, 64) uint8: the map, 1 = car, 2 = cat."""
    ids = np.zeros(SIZE[::-1], np.uint8)
    for index, (x1, y1, x2, y2) in enumerate(BOXES, start=1):
        ids[y1:y2, x1:x2] = index
    return ids


def draw(path: Path, pixels: np.ndarray) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


@pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")  # pycocotools 2.0.11
@pytest.mark.parametrize(("name", "case"), yaml.safe_load(CASES).items())
def test_an_export_is_read_as_its_program_means_it(
    tmp_path: Path, name: str, case: dict[str, object]
) -> None:
    entry, images, ids = case["entry"], case["images"], street()
    assert isinstance(entry, dict)
    assert isinstance(images, list)
    export = Path(images[0]).parts[0]
    shutil.copytree(EXPORTS / export, tmp_path / export)
    for image in images:
        draw(tmp_path / image, COLOURS[ids])
    if "labelme voc" in name:
        ids[0, :4] = 255  # -1 in labelme2voc: __ignore__
    if "ids" in case:
        draw(tmp_path / str(case["ids"]), ids)
    if "colours" in case:
        draw(tmp_path / str(case["colours"]), COLOURS[ids])
    splits = {"all": [entry]}
    description = DataDescription(classes=["car", "cat"], splits=splits, folder=tmp_path)
    (source,) = description.open_split("all")
    assert len(source) == len(images)
    sample, *others = (source.read(index) for index in range(len(source)))
    assert (sample.boxes is None) == (entry["format"] == "masks")
    if sample.boxes is not None:
        np.testing.assert_allclose(sample.boxes, BOXES, atol=1e-4)  # CVAT's YOLO has six decimals
        assert sample.labels.tolist() == [1, 2]
        assert not sample.difficult.any()
    assert (sample.seg_map is None) == ("masks" not in entry)
    if sample.seg_map is not None:
        np.testing.assert_array_equal(sample.seg_map, ids)
    for other in others:
        assert other.boxes.shape == (0, 4)
        assert other.seg_map is None or not other.seg_map.any()


def test_roboflows_val_split_is_in_its_folder_valid(tmp_path: Path) -> None:
    shutil.copytree(EXPORTS / "roboflow_yolo", tmp_path / "roboflow_yolo")
    for path in (tmp_path / "roboflow_yolo").glob("*/labels/*.txt"):
        draw(path.parents[1] / "images" / f"{path.stem}.jpg", COLOURS[street()])
    entry = {"format": "yolo", "data": "roboflow_yolo/data.yaml", "split": "val"}
    splits = {"val": [entry]}
    description = DataDescription(classes=["car", "cat"], splits=splits, folder=tmp_path)
    assert description.open_split("val")[0].labels(0).objects == ()


@pytest.mark.parametrize(
    ("name", "text", "problem"),
    [
        ("labelmap.txt", "car\n", "labelmap.txt, line 1: 'car' is not NAME:R,G,B:PARTS:ACTIONS"),
        ("labelmap.txt", "# label\ncar:red::\n", "labelmap.txt, line 2: 'red' is not a colour"),
        ("_classes.csv", "Value, Class\ncar, 1\n", "below its header, lines must be VALUE, CLASS"),
        ("_classes.csv", "Value, Class\n1\n", "below its header, lines must be VALUE, CLASS"),
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
