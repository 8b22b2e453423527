"""The COCO reader on drawn files, damaged files, and real files compared with pycocotools."""

import json
import os
import pickle
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from blitznet.classes import COCO_CLASSES, IGNORE_INDEX
from blitznet.data.coco import CocoEntry, _locate, read_ids
from blitznet.data.description import read_description
from blitznet.data.labels import ClassTable, read_objects
from blitznet.data.source import LabelSource
from blitznet.errors import LabelError
from fixtures.label_files import assert_same_files, raises, write
from fixtures.make_coco_mini import CATEGORIES, COCO_MINI, draw
from reference.instance_map_loops import combine_instances

coco = pytest.importorskip("pycocotools.coco")
# pycocotools 2.0.11 decodes in a way that numpy 2 deprecates.
pytestmark = pytest.mark.filterwarnings("ignore:__array__ implementation:DeprecationWarning")

INSTANCES = COCO_MINI / "annotations" / "instances_mini.json"
IMAGES_ONLY = COCO_MINI / "annotations" / "image_info_mini.json"
PERSON, CAT, DOG, SHEEP, BOOK, TOOTHBRUSH = (
    COCO_CLASSES.index(name) for name in CATEGORIES.values()
)


def open_source(
    annotations: Path = INSTANCES, names: tuple[str, ...] = COCO_CLASSES, **fields: object
) -> LabelSource:
    entry = {
        "images": COCO_MINI / "images",
        "annotations": annotations,
        "masks": "from_instances",
        **fields,
    }
    return CocoEntry.model_validate(entry).open(Path(), names)


def ids_of(source: LabelSource) -> list[int]:
    return [int(source.image_id(index)) for index in range(len(source))]


def changed(folder: Path, change: Callable[[dict[str, Any]], object]) -> Path:
    """A copy of the annotations after `change`."""
    content = json.loads(INSTANCES.read_text())
    change(content)
    return write(folder / "a.json", json.dumps(content))


def with_one(folder: Path, **fields: object) -> Path:
    """The annotations with fields of one of the first image replaced."""

    def change(content: dict[str, Any]) -> None:
        content["annotations"] = [content["annotations"][0] | {"id": 7} | fields]

    return changed(folder, change)


def combine_by_pycocotools(
    annotations: Any, key: int, size: tuple[int, int], table: ClassTable
) -> np.ndarray:
    """The map of one image by loops over the masks that pycocotools decodes."""
    names = {number: item["name"] for number, item in annotations.cats.items()}
    instances = []
    for item in annotations.imgToAnns[key]:
        value = IGNORE_INDEX if item["iscrowd"] else table.id_of(names[item["category_id"]])
        if item["segmentation"]:
            instances.append((value, annotations.annToMask(item)))
            continue
        mask = np.zeros(size[::-1], np.uint8)
        x, y, width, height = (int(number) for number in item["bbox"])
        mask[y : y + height, x : x + width] = 1
        instances.append((IGNORE_INDEX, mask))
    return combine_instances(instances, size)


def test_committed_fixtures_are_what_the_script_draws(tmp_path: Path) -> None:
    draw(tmp_path)
    assert_same_files(tmp_path, COCO_MINI)


def test_corner_and_sides_become_two_corners_and_category_ids_become_class_ids() -> None:
    sample = open_source().read(0)
    assert sample.source == str(COCO_MINI / "images" / "000000000139.jpg")
    assert sample.size == (64, 48)
    assert sample.boxes.dtype == np.float32
    # In the order of the file, which is not that of the scene.
    assert sample.boxes.tolist() == [[6.5, 6, 44.75, 42], [20, 24, 40, 44], [48, 8, 60, 44]]
    assert sample.labels.tolist() == [CAT, DOG, PERSON]
    assert (CAT, DOG, PERSON, TOOTHBRUSH) == (16, 17, 1, 80)
    assert sample.difficult.tolist() == [False, False, False]


def test_the_map_has_small_objects_in_front_and_both_parts_of_one() -> None:
    seg_map = open_source().read(0).seg_map
    # Row 30: cat, the dog in front of it, and the person on both sides of the pole.
    runs = [(0, 8), (CAT, 15), (DOG, 14), (CAT, 6), (0, 5), (PERSON, 4), (0, 3), (PERSON, 5)]
    row = [value for value, length in runs for _ in range(length)]
    assert seg_map[30].tolist()[:60] == row


def test_the_map_is_void_on_crowds_and_on_the_box_of_an_object_without_outline() -> None:
    sample = open_source().read(1)
    assert (sample.labels.tolist(), sample.difficult.tolist()) == ([SHEEP] * 2, [True, False])
    expected = np.array([[2, 4, 40, 26], [30, 10, 46.4, 22.6]], np.float32)
    np.testing.assert_array_equal(sample.boxes, expected)
    crowd = sample.seg_map
    # The sheep in front of the crowd is smaller.
    row = [0] * 2 + [IGNORE_INDEX] * 28 + [SHEEP] * 16 + [0] * 18
    assert crowd[15].tolist() == row
    book = open_source().read(2).seg_map
    assert (book[30:50, 4:22] == IGNORE_INDEX).all()
    assert book[20, 23] == TOOTHBRUSH
    assert set(np.unique(book)) == {0, TOOTHBRUSH, IGNORE_INDEX}


def test_maps_equal_a_pixel_loop_over_pycocotools_masks() -> None:
    source, annotations = open_source(), coco.COCO(INSTANCES)
    for index, key in enumerate(ids_of(source)):
        sample = source.read(index)
        expected = combine_by_pycocotools(annotations, int(key), sample.size, source.table)
        np.testing.assert_array_equal(sample.seg_map, expected)


def test_classes_follow_the_networks_own_order_label_map_and_known_classes() -> None:
    label_map = {"cat": "pet", "dog": "pet", "sheep": "wool", "person": "ignore"}
    names = ("background", "pet", "wool")
    source = open_source(names=names, label_map=label_map, labels_only=["pet"])
    sample, sheep = source.read(0), source.read(1)
    assert sample.labels.tolist() == [1, 1, -1]
    assert sample.difficult.tolist() == [False, False, True]
    assert np.unique(sample.seg_map).tolist() == [0, 1, IGNORE_INDEX]
    assert len(sheep.labels) == 0
    assert np.unique(sheep.seg_map).tolist() == [0]


def test_what_is_not_labelled_is_none_and_what_is_not_there_is_empty(tmp_path: Path) -> None:
    boxes, maps, empty = open_source(masks=None), open_source(boxes=False), open_source().read(3)
    assert boxes.read(0).seg_map is None
    assert maps.read(0).boxes is None
    assert np.unique(maps.read(0).seg_map).tolist() == [0, PERSON, CAT, DOG]
    assert empty.boxes.shape == (0, 4)
    assert np.unique(empty.seg_map).tolist() == [0]
    assert boxes.labels(2).size == (48, 64)
    path = changed(tmp_path, lambda content: content["images"][2].pop("width"))
    assert open_source(path).labels(2).size is None


def test_maps_can_be_made_from_boxes() -> None:
    sample = open_source(masks="from_boxes").read(2)
    # The middle of the book, and its corner.
    assert sample.seg_map[40, 16] == BOOK
    assert sample.seg_map[31, 5] == IGNORE_INDEX


@pytest.mark.parametrize("path", [IMAGES_ONLY, INSTANCES])
def test_images_without_labels_are_there_to_predict_on(path: Path) -> None:
    source = open_source(path, boxes=False, masks=None)
    sample = source.read(2)
    assert (len(source), sample.size) == (4, (48, 64))
    assert sample.boxes is None
    assert sample.seg_map is None


@pytest.mark.parametrize(("boxes", "masks"), [(True, None), (False, "from_instances")])
def test_labels_that_are_wanted_and_not_there_are_missed(boxes: bool, masks: str | None) -> None:
    with raises(
        f"{IMAGES_ONLY} has no `annotations`; give an instances file, or say boxes: false and "
        "no masks to predict on images"
    ):
        open_source(IMAGES_ONLY, boxes=boxes, masks=masks)


@pytest.mark.parametrize(
    "text", ["632\n139\n", " 632 \r\n\n139", "[632, 139]", '{"images": [%s, %s]}', "\ufeff632\n139"]
)
def test_a_list_of_ids_chooses_images_and_their_order(tmp_path: Path, text: str) -> None:
    if "%" in text:
        text %= tuple(json.dumps({"id": key, "file_name": "a.jpg"}) for key in (632, 139))
    path = write(tmp_path / "minival.txt", text)
    source = open_source(ids=path)
    assert ids_of(source) == [632, 139]
    assert len(source) == 2
    np.testing.assert_array_equal(source.read(0).seg_map, open_source().read(2).seg_map)
    np.testing.assert_array_equal(source.read(1).boxes, open_source().read(0).boxes)


def test_images_and_ids_that_are_no_numbers_are_found_too(tmp_path: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        for item in content["images"]:
            item["id"] = f"image {item['id']}"
        for item in content["annotations"]:
            item["image_id"] = f"image {item['image_id']}"

    path = changed(tmp_path, change)
    source = open_source(path, ids=write(tmp_path / "ids.txt", "image 285\n"))
    assert source.read(0).labels.tolist() == [SHEEP, SHEEP]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("", " lists no image"),
        ("[]", " lists no image"),
        ("5\n5", " lists image 5 twice"),
        ("[[1]]", " is not a list of image ids"),
        ("[1.5]", " is not a list of image ids"),
        ("[1", " cannot be read as JSON: "),
        ('{"a": 1}', " has no `images`; give a COCO file such as instances_train2014.json"),
        (b"\xff\xfe\x00", " is not UTF-8 text"),
    ],
)
def test_a_list_of_something_else_than_ids_is_refused(
    tmp_path: Path, text: str | bytes, problem: str
) -> None:
    path = write(tmp_path / "ids.txt", text)
    with raises(f"{path}{problem}", is_whole=False):
        read_ids(path)


@pytest.mark.parametrize("kind", [str, float])
def test_an_id_is_the_same_as_a_number_and_as_text(
    tmp_path: Path, kind: Callable[[int], object]
) -> None:
    def as_other(content: dict[str, Any]) -> None:
        for image in content["images"]:
            image["id"] = kind(image["id"])
        for annotation in content["annotations"]:
            annotation["category_id"] = kind(annotation["category_id"])

    expected, found = (
        [source.read(index) for index in range(len(source))]
        for source in (open_source(), open_source(changed(tmp_path, as_other)))
    )
    assert [one.labels.tolist() for one in found] == [one.labels.tolist() for one in expected]


@pytest.mark.parametrize(
    ("written_as", "is_crowd"),
    [(None, False), ("0", False), ("false", False), (0.0, False), (True, True), ("1", True)],
)
def test_a_crowd_is_a_flag_however_it_is_written(
    tmp_path: Path, written_as: object, is_crowd: bool
) -> None:
    (item,) = open_source(with_one(tmp_path, iscrowd=written_as)).labels(0).objects or ()
    assert item.ignore is is_crowd
    with pytest.raises(LabelError, match="annotation 7: iscrowd is 'maybe'; it needs 0 or 1"):
        open_source(with_one(tmp_path, iscrowd="maybe")).labels(0)


def test_windows_separators_and_names_of_another_folder(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    Image.new("RGB", (9, 9)).save(tmp_path / "deep/a.png")
    Image.new("RGB", (9, 9)).save(tmp_path / "b.png")
    assert _locate(tmp_path, "deep\\a.png") == tmp_path / "deep/a.png"
    assert _locate(tmp_path, "deep/a.png") == tmp_path / "deep/a.png"
    with pytest.raises(LabelError, match=r"\.\.\\media\\b\.png is not in .*, but b\.png is"):
        _locate(tmp_path, "..\\media\\b.png")
    with pytest.raises(LabelError, match=r"^no file system has the name 'xxx.*\.\.\.$"):
        _locate(tmp_path, 300 * "x")


@pytest.mark.parametrize("name", ["B.PNG", "b.jpg", "b.png ", "b", "deep\\A.png", "%62.png"])
def test_a_file_name_that_only_looks_the_same_is_shown_beside_the_file(
    tmp_path: Path, name: str
) -> None:
    (tmp_path / "deep").mkdir()
    for there in ("deep/a.png", "b.png"):
        Image.new("RGB", (9, 9)).save(tmp_path / there)
    with pytest.raises(LabelError, match=r"is not in .*, but [ab]\.png is: the names differ in"):
        _locate(tmp_path, name)
    assert _locate(tmp_path, "c.png") == tmp_path / "c.png"


def test_ids_of_other_images_are_counted(tmp_path: Path) -> None:
    path = write(tmp_path / "ids.txt", "139\n5\n632\n6\n")
    with raises(f"{path} lists 2 images that {INSTANCES} does not have, the first is 5"):
        open_source(ids=path)


EXAMPLE = "such as instances_train2014.json"


@pytest.mark.parametrize(
    ("content", "problem"),
    [
        (b"", " cannot be read as JSON: Expecting value: line 1 column 1 (char 0)"),
        (b"[" * 100_000, " cannot be read as JSON: "),
        (b"\xff\xd8\xff", " is not UTF-8 text"),
        (b"5", f" is not an object; give a file of instances, {EXAMPLE}"),
        (b"[]", " is a list, like a detector's results; give a file of instances"),
        (b"{}", f" has no `images`; give a COCO file {EXAMPLE}"),
    ],
)
def test_a_file_of_something_else_is_refused(tmp_path: Path, content: bytes, problem: str) -> None:
    path = write(tmp_path / "a.json", content)
    with raises(f"{path}{problem}", is_whole=False):
        open_source(path)


@pytest.mark.parametrize(
    ("part", "number", "fields", "problem"),
    [
        ("images", 1, {"id": None}, ", `images`, item 2 needs an `id` and a `file_name`"),
        ("images", 1, {"file_name": 5}, ", `images`, item 2 needs an `id` and a `file_name`"),
        ("images", 1, {"id": 139}, ": two of its `images` have the id 139"),
        ("categories", 2, {"name": None}, ", `categories`, item 3 needs an `id` and a `name`"),
        ("annotations", 0, {"image_id": 9}, ", annotation 5: image_id 9 is not among its `images`"),
        ("annotations", 0, {"image_id": [9]}, ", annotation 5: image_id [9] is not among its"),
    ],
)
def test_what_is_wrong_in_a_file_is_said_when_it_is_opened(
    tmp_path: Path, part: str, number: int, fields: dict[str, Any], problem: str
) -> None:
    path = changed(tmp_path, lambda content: content[part][number].update({"id": 5} | fields))
    with raises(f"{path}{problem}", is_whole=False):
        open_source(path)


@pytest.mark.parametrize(
    ("annotations", "problem"),
    [
        ({}, ": `annotations` is not a list"),
        ([{"id": 5, "image_id": 139, "caption": ""}], ", annotation number 1 lacks `image_id` or"),
        ([5], ", annotation number 1 lacks `image_id` or `category_id`; give a file of instances"),
    ],
)
def test_annotations_of_another_kind_are_refused(
    tmp_path: Path, annotations: object, problem: str
) -> None:
    path = changed(tmp_path, lambda content: content.update(annotations=annotations))
    with raises(f"{path}{problem}", is_whole=False):
        open_source(path)


@pytest.mark.parametrize(
    ("fields", "problem"),
    [
        ({"category_id": 91}, "annotation 7: category_id 91 is not among its `categories`"),
        ({"category_id": [1]}, "annotation 7: category_id [1] is not among its `categories`"),
        ({"bbox": [1, 2, -3, 4]}, "annotation 7: box [1, 2, -3, 4] has no area"),
        ({"bbox": [1, 2, 1e999, 4]}, "annotation 7: box [1, 2, inf, 4] is not finite"),
        ({"bbox": [1, 2, 70, 4]}, "annotation 7: box [1, 2, 70, 4] reaches beyond the image of"),
        ({"id": None, "bbox": 5}, "an annotation of 000000000139.jpg: bbox is 5; it needs four"),
        ({"segmentation": {"size": [48, 64], "counts": [5]}}, "annotation 7: its run-length code"),
        ({"segmentation": 5}, "annotation 7: its outline is neither polygons"),
        ({"segmentation": "text"}, "annotation 7: its outline is neither polygons"),
        ({"segmentation": [1, 2, 3, 4, 5, 6]}, "annotation 7: its outline is neither polygons"),
        ({"segmentation": [None]}, "annotation 7: its outline is neither polygons"),
    ],
)
def test_what_is_wrong_with_an_object_is_named_by_its_annotation(
    tmp_path: Path, fields: dict[str, object], problem: str
) -> None:
    path = with_one(tmp_path, **fields)
    with raises(f"{path}, {problem}", is_whole=False):
        open_source(path).read(0)


@pytest.mark.parametrize(
    "bbox", [None, 5, [1, 2, 3], [1, 2, 3, 4, 5], [1, 2, "x", 4], [1, 2, 3, 10**400], {}]
)
def test_a_box_that_is_not_four_numbers_is_a_problem_of_its_object(
    tmp_path: Path, bbox: object
) -> None:
    path = with_one(tmp_path, bbox=bbox)
    source = open_source(path)
    with raises(f"{path}, annotation 7: bbox is {bbox}; it needs four numbers x, y, width, height"):
        source.read(0)
    # The outline is enough for a map.
    assert CAT in np.unique(open_source(path, boxes=False).read(0).seg_map)  # type: ignore[arg-type]


def test_a_box_in_fractions_is_told_from_one_in_pixels(tmp_path: Path) -> None:
    path = with_one(tmp_path, bbox=[0.25, 0.25, 0.5, 0.5])
    text = "bbox [0.25, 0.25, 0.5, 0.5] is less than a pixel; give pixels, not fractions"
    with raises(f"{path}, annotation 7: {text}"):
        open_source(path).read(0)


@pytest.mark.parametrize("bbox", [[296.65, 8.33, 1.03, 0.0], [5, 5, 0, 3], [5, 5, 0, 0]])
def test_an_annotation_that_says_itself_that_it_has_no_area_is_passed_over(
    tmp_path: Path, bbox: list[float]
) -> None:
    outline = [[6.5, 8.33, 6.5, 8.33, 7.68, 8.33]]
    sample = open_source(with_one(tmp_path, bbox=bbox, area=0.0, segmentation=outline)).read(0)
    assert (len(sample.boxes), sample.seg_map.any()) == (0, False)


@pytest.mark.parametrize("missing", ["area", "iscrowd", "segmentation"])
def test_fields_that_other_tools_leave_out_are_not_needed(tmp_path: Path, missing: str) -> None:
    path = changed(tmp_path, lambda content: content["annotations"][0].pop(missing))
    sample = open_source(path).read(0)
    assert sample.labels.tolist() == [CAT, DOG, PERSON]
    assert not sample.difficult.any()


def test_names_beyond_ascii_and_a_byte_order_mark_are_read(tmp_path: Path) -> None:
    def change(content: dict[str, Any]) -> None:
        content["categories"][1]["name"] = "Kätzchen 猫"

    path = changed(tmp_path, change)
    path.write_text("\ufeff" + json.dumps(json.loads(path.read_text()), ensure_ascii=False))
    source = open_source(path, label_map={"Kätzchen 猫": "cat"})
    assert source.read(0).labels.tolist() == [CAT, DOG, PERSON]


def test_thousands_of_annotations_keep_their_images_and_their_order(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    owners = rng.choice([139, 285, 632, 724], 2500).tolist()

    def change(content: dict[str, Any]) -> None:
        content["annotations"] = [
            {"id": number, "image_id": key, "category_id": 17, "bbox": [0, 0, 1, 1]}
            for number, key in enumerate(owners)
        ]

    path = changed(tmp_path, change)
    source = open_source(path)
    for index, key in enumerate(ids_of(source)):
        found = [item.where for item in source.labels(index).objects or ()]
        wanted = [number for number, owner in enumerate(owners) if owner == key]
        assert found == [f"{path}, annotation {number}" for number in wanted]


def test_a_source_reads_the_same_in_another_process() -> None:
    source = open_source()
    twin = pickle.loads(pickle.dumps(source))
    for index in range(len(source)):
        labels, others = (replace(one.labels(index), seg_map=None) for one in (source, twin))
        assert labels == others
        np.testing.assert_array_equal(source.read(index).seg_map, twin.read(index).seg_map)


def test_an_entry_opens_by_paths_relative_to_the_description(tmp_path: Path) -> None:
    (tmp_path / "coco").symlink_to(COCO_MINI)
    write(tmp_path / "minival.txt", "632\n")
    path = write(
        tmp_path / "data.yaml",
        """
        classes: coco
        train:
          - {format: coco, images: coco/images, annotations: coco/annotations/instances_mini.json,
             masks: from_instances}
        val:
          - {format: coco, images: coco/images, annotations: coco/annotations/instances_mini.json,
             ids: minival.txt}
        test:
          - {format: coco, images: coco/images, annotations: coco/annotations/image_info_mini.json,
             boxes: false}
        """,
    )
    description = read_description(path)
    assert description.classes == COCO_CLASSES
    (train,), (val,), (test,) = (description.open_split(name) for name in ("train", "val", "test"))
    assert (len(train), len(val), len(test)) == (4, 1, 4)
    assert train.read(0).seg_map is not None
    assert val.read(0).labels.tolist() == [TOOTHBRUSH, BOOK]  # as in the file
    assert test.read(0).boxes is None


@pytest.fixture(params=["train2017", "val2017"])
def real(request: pytest.FixtureRequest) -> tuple[LabelSource, Any]:
    """The folder of real COCO images, beside the VOCdevkit in BLITZNET_DATA."""
    root = Path(os.environ["BLITZNET_DATA"]).parent / "coco-mini"
    if not root.is_dir():
        pytest.skip(f"{root} does not exist")
    path = root / "annotations" / f"instances_{request.param}.json"
    source = open_source(path, images=root / "images" / request.param)
    return source, coco.COCO(path)


@pytest.mark.data
def test_real_images_have_the_boxes_that_pycocotools_finds(real: tuple[LabelSource, Any]) -> None:
    source, annotations = real
    assert len(source) == len(annotations.imgs)
    assert set(ids_of(source)) == set(annotations.imgs)
    assert tuple(item["name"] for item in annotations.cats.values()) == COCO_CLASSES[1:]
    for index, key in enumerate(ids_of(source)):
        labels = source.labels(index)
        size = annotations.imgs[key]["width"], annotations.imgs[key]["height"]
        assert labels.size == size
        boxes, ids, difficult = read_objects(labels, size, source.table)
        items = annotations.imgToAnns[key]
        expected = np.array([item["bbox"] for item in items]).reshape(-1, 4)
        expected[:, 2:] += expected[:, :2]
        np.testing.assert_allclose(boxes, expected, atol=1e-3)  # clipped, float32
        names = [annotations.cats[item["category_id"]]["name"] for item in items]
        assert [COCO_CLASSES[index] for index in ids] == names
        assert difficult.tolist() == [bool(item["iscrowd"]) for item in items]


@pytest.mark.data
def test_real_maps_equal_a_pixel_loop_over_pycocotools_masks(real: tuple[LabelSource, Any]) -> None:
    source, annotations = real
    for index, key in enumerate(ids_of(source)):
        sample = source.read(index)
        expected = combine_by_pycocotools(annotations, int(key), sample.size, source.table)
        np.testing.assert_array_equal(sample.seg_map, expected)
