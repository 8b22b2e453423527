"""Findings in single drawn images."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from blitznet.classes import IGNORE_INDEX
from blitznet.data.check.image_check import (
    ImageRecord,
    best_iou,
    check_image,
    hash_pixels,
)
from blitznet.data.labels import ClassTable, ImageLabels, ObjectLabel, ReadMap
from blitznet.data.seg_map import MapEncoding, MapFile
from blitznet.data.source import LabelSource
from blitznet.detection.anchors import anchors_of
from blitznet.detection.matcher import NO_MATCH, match_anchors
from blitznet.image import read_image
from blitznet.model_info import BLITZNET300_MOBILE, ModelConfig
from reference.iou_loops import box_iou

NAMES = ("background", "cat", "dog")
ANCHORS = anchors_of(BLITZNET300_MOBILE)


@pytest.fixture
def image(tmp_path: Path) -> Path:
    """60 by 40 pixels of noise."""
    path = tmp_path / "a.png"
    pixels = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(path)
    return path


def thing(name: str, *box: float, ignore: bool = False) -> ObjectLabel:
    x1, y1, x2, y2 = box
    return ObjectLabel(name, (x1, y1, x2, y2), f"{name} of a.txt", str([*box]), ignore=ignore)


def check(
    image: Path,
    objects: Sequence[ObjectLabel] | None,
    seg_map: ReadMap | None = None,
    size: tuple[int, int] | None = None,
    model: ModelConfig | None = BLITZNET300_MOBILE,
) -> ImageRecord:
    labels = ImageLabels(image, None if objects is None else tuple(objects), seg_map, size)
    table = ClassTable(NAMES, {"rat": "ignore", "tree": None})
    source = LabelSource([labels], lambda labels: labels, table)
    return check_image(source, ImageRecord("train", 1, 0), model)


def found(record: ImageRecord) -> list[tuple[str, bool]]:
    return [(problem.kind, problem.is_error) for problem in record.problems]


def save_map(image: Path, ids: np.ndarray) -> MapFile:
    path = image.with_name("map.png")
    Image.fromarray(ids).save(path)
    return MapFile(path, MapEncoding({**dict(enumerate(NAMES)), IGNORE_INDEX: "ignore"}))


def test_a_sound_image_is_counted(image: Path) -> None:
    ids = np.zeros((40, 60), np.uint8)
    ids[:10], ids[10:12], ids[20:, :20] = 2, IGNORE_INDEX, 1
    objects = [
        thing("cat", 0, 0, 30, 40),
        thing("tree", 0, 0, 9, 9),
        thing("rat", 0, 0, 50, 30),
        thing("dog", 5, 0, 55, 20, ignore=True),
        thing("dog", 0, 0, 60, 30),
    ]
    record = check(image, objects, save_map(image, ids))
    assert record.problems == []
    assert record.labels.tolist() == [1, 2]
    np.testing.assert_allclose(record.shapes, [[0.5, 1.0], [1.0, 0.75]])
    assert (record.has_boxes, record.num_ignored) == (True, 2)
    assert record.pixels == {0: 28 * 60 - 400, 1: 400, 2: 10 * 60, IGNORE_INDEX: 2 * 60}


def test_the_best_overlap_is_that_of_the_loop() -> None:
    rng = np.random.default_rng(0)
    corners = rng.random((11, 2, 2)).astype(np.float32)
    boxes = np.concatenate((corners.min(axis=1), corners.max(axis=1)), axis=1)
    boxes, few = 300 * boxes, ANCHORS[::97]
    expected = [max(box_iou(box.tolist(), anchor) for anchor in few.tolist()) for box in boxes]
    np.testing.assert_allclose(best_iou(boxes, few), expected, atol=1e-5)
    assert best_iou(np.zeros((0, 4), np.float32), few).shape == (0,)


def test_boxes_are_learnt_from_one_anchor_as_the_matcher_says(image: Path) -> None:
    small, large = thing("cat", 10, 10, 12, 12), thing("dog", 0, 0, 60, 40)
    record = check(image, [small, large])
    assert found(record) == [("tiny-box", False)]
    assert str(record.problems[0]) == (
        "cat of a.txt: cat of 10.0x15.0 pixels at blitznet300-mobile's input overlaps its best "
        f"anchor by {record.best_iou[0]:.2f} (IoU): matches one anchor only"
    )
    boxes = torch.tensor([[[50.0, 75, 60, 90], [0, 0, 300, 300]]])
    matched = match_anchors(ANCHORS, boxes, torch.tensor([[1, 2]]))
    assert int((matched == 0).sum()) == 1
    assert int((matched == 1).sum()) > 1
    assert NO_MATCH in matched


def test_without_anchors_only_errors_are_looked_for(image: Path) -> None:
    record = check(image, [thing("cat", 10, 10, 12, 12)], model=None)
    assert record.problems == []
    assert record.thumbnail is None
    assert record.pixel_hash is not None


@pytest.mark.parametrize("ids", [None, 0, IGNORE_INDEX])
def test_an_image_without_object_and_foreground_is_empty(image: Path, ids: int | None) -> None:
    seg_map = None if ids is None else save_map(image, np.full((40, 60), ids, np.uint8))
    expected = [("mostly-void", False)] if ids == IGNORE_INDEX else []
    assert found(check(image, [], seg_map)) == [*expected, ("empty-picture", False)]


def test_an_object_that_the_map_does_not_show_is_found(image: Path) -> None:
    ids = np.zeros((40, 60), np.uint8)
    ids[:, :30] = 1
    cat, dog = thing("cat", 0, 0, 30, 40), thing("dog", 20, 0, 60, 40)
    record = check(image, [cat, dog, thing("rat", 30, 0, 60, 40)], save_map(image, ids))
    assert found(record) == [("not-in-map", False)]
    assert str(record.problems[0]) == (
        "dog of a.txt: the map shows no dog in the box [20, 0, 60, 40]; with void_missing: true in "
        "the data description, training does not take it for background"
    )
    assert found(check(image, [cat, dog], save_map(image, ids), model=None)) == []
    beyond = check(
        image, [thing("dog", -1.8, 4, -0.6, 8)], save_map(image, ids)
    )  # within tolerance
    assert ("not-in-map", False) in found(beyond)
    assert found(check(image, [dog], lambda *_: ids)) == []  # a map made from labels


def test_an_ignored_object_or_a_pixel_is_not_nothing(image: Path) -> None:
    assert found(check(image, [thing("rat", 0, 0, 30, 30)])) == []
    ids = np.zeros((40, 60), np.uint8)
    ids[3, 4] = 1
    assert found(check(image, None, save_map(image, ids))) == []
    assert found(check(image, None)) == []  # no finding


@pytest.mark.parametrize(("void_rows", "is_mostly_void"), [(35, False), (36, True)])
def test_nine_tenths_of_void_are_mostly_void(
    image: Path, void_rows: int, is_mostly_void: bool
) -> None:
    ids = np.ones((40, 60), np.uint8)
    ids[:void_rows] = IGNORE_INDEX
    record = check(image, None, save_map(image, ids))
    assert found(record) == [("mostly-void", False)] * is_mostly_void


def test_everything_that_is_wrong_is_listed_and_nothing_of_it_is_counted(image: Path) -> None:
    objects = [thing("cow", 0, 0, 9, 9), thing("cat", 9, 9, 9, 9), thing("dog", 0, 0, 99, 9)]
    record = check(image, objects, save_map(image, np.zeros((4, 6), np.uint8)))
    kinds = ["unknown-class", "box-without-area", "box-outside", "map"]
    assert found(record) == [(kind, True) for kind in kinds]
    assert len(record.labels) == 0


def test_the_labels_of_a_missing_image_are_checked_by_the_size_that_they_state(
    tmp_path: Path,
) -> None:
    record = check(tmp_path / "no.jpg", [thing("dog", 0, 0, 99, 9)], size=(60, 40))
    assert [str(problem) for problem in record.problems] == [
        f"{tmp_path / 'no.jpg'}: no such file",
        "dog of a.txt: box [0, 0, 99, 9] reaches beyond the image of 60x40 pixels",
    ]
    assert record.pixel_hash is None


def test_a_turned_image_gets_one_line_and_not_one_a_box(image: Path) -> None:
    path = image.with_suffix(".jpg")
    exif = Image.Exif()
    exif[0x0112] = 8
    Image.open(image).save(path, exif=exif)
    assert read_image(path).size == (40, 60)
    lying, standing, either = (10, 5, 58, 38), (5, 10, 38, 58), (5, 5, 14, 14)
    for box, size, kinds in (
        (lying, (60, 40), ["rotation"]),
        (lying, (40, 60), ["box-outside"]),
        (either, (60, 40), ["rotation"]),
        (standing, (60, 40), []),  # as of Label Studio: only the size is that of the stored image
    ):
        assert [kind for kind, _ in found(check(path, [thing("dog", *box)], size=size))] == kinds


@pytest.mark.parametrize("size", [(40, 60), (120, 80)])
def test_another_stated_size_is_worth_a_look(image: Path, size: tuple[int, int]) -> None:
    record = check(image, [thing("dog", 0, 0, 30, 30)], size=size)
    assert found(record) == [("other-size", False)]
    assert f"is 60x40 but its labels state {size[0]}x{size[1]}" in str(record.problems[0])


def test_equal_pixels_have_equal_hashes_however_they_are_stored(image: Path) -> None:
    decoded = read_image(image)
    decoded.save(image.with_suffix(".bmp"))
    assert hash_pixels(read_image(image.with_suffix(".bmp"))) == hash_pixels(decoded)
    pixels = np.asarray(decoded).copy()
    pixels[7, 7, 1] ^= 1
    assert hash_pixels(Image.fromarray(pixels)) != hash_pixels(decoded)
    turned = Image.frombytes("RGB", (40, 60), decoded.tobytes())
    assert hash_pixels(turned) != hash_pixels(decoded)
