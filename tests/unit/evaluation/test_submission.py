"""The evaluation servers' files, for known detections."""

import io
import json
import os
import tarfile
import zipfile
from contextlib import redirect_stdout
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from blitznet.classes import COCO_CLASSES, VOC_CLASSES, voc_palette
from blitznet.data.coco import CocoEntry
from blitznet.data.source import LabelSource
from blitznet.detections import Detections
from blitznet.errors import InputError
from blitznet.evaluation.submission import AddImage, coco_results, open_submission
from fixtures.make_coco_mini import COCO_MINI

CAT, DOG = VOC_CLASSES.index("cat"), VOC_CLASSES.index("dog")

# pycocotools 2.0.11 under numpy 2.4
old_copy_protocol = pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")


def detections(boxes: list[list[float]], labels: list[int], scores: list[float]) -> Detections:
    return Detections(
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(labels, np.int64),
        np.array(scores, np.float32),
    )


TWO = detections([[0, 6, 48, 38], [1.25, 2.5, 20.125, 10]], [CAT, DOG], [0.75, 0.01])
NOTHING = detections([], [], [])


def main_folder(folder: Path) -> Path:
    return folder / "results" / "VOC2012" / "Main"


def test_vocs_rows_count_pixels_from_1_and_include_the_last_one(tmp_path: Path) -> None:
    with open_submission("voc", tmp_path, VOC_CLASSES, "test", "net") as add:
        add("2008_000001", TWO, None)
        add("2008_000002", NOTHING, None)
        add("2008_000003", TWO, None)
    main = main_folder(tmp_path)
    assert (main / "comp4_det_test_cat.txt").read_text() == (
        "2008_000001 0.750000 1.00 7.00 48.00 38.00\n2008_000003 0.750000 1.00 7.00 48.00 38.00\n"
    )
    assert (main / "comp4_det_test_dog.txt").read_text() == (
        "2008_000001 0.010000 2.25 3.50 20.12 10.00\n2008_000003 0.010000 2.25 3.50 20.12 10.00\n"
    )
    names = {path.name for path in main.iterdir()}
    assert names == {f"comp4_det_test_{name}.txt" for name in VOC_CLASSES[1:]}
    assert (main / "comp4_det_test_sofa.txt").read_text() == ""


def test_vocs_archive_holds_rows_and_maps_of_the_images_size(tmp_path: Path) -> None:
    seg_map = np.zeros((3, 5), np.uint8)
    seg_map[1, 2:] = DOG
    with open_submission("voc", tmp_path, VOC_CLASSES, "test", "net") as add:
        add("2008_000001", TWO, seg_map)
        add("2008_000002", NOTHING, seg_map.T)
    with tarfile.open(tmp_path / "results.tgz") as archive:
        files = [member.name for member in archive.getmembers() if member.isfile()]
        assert len(files) == 22
        assert "results/VOC2012/Main/comp4_det_test_tvmonitor.txt" in files
        member = archive.extractfile("results/VOC2012/Segmentation/comp6_test_cls/2008_000002.png")
        assert member is not None
        with Image.open(io.BytesIO(member.read())) as stored:
            assert (stored.mode, stored.size) == ("P", (3, 5))
            np.testing.assert_array_equal(stored, seg_map.T)
            palette = stored.getpalette()
            assert palette is not None
            assert palette[3 * DOG : 3 * DOG + 3] == voc_palette()[DOG].tolist()


def test_a_network_without_boxes_submits_maps_alone(tmp_path: Path) -> None:
    with open_submission("voc", tmp_path, VOC_CLASSES, "test", "net") as add:
        add("2008_000001", None, np.zeros((2, 2), np.uint8))
    assert list(main_folder(tmp_path).iterdir()) == []
    assert (tmp_path / "results.tgz").is_file()


def test_cocos_results_have_official_ids_and_sizes_and_are_zipped(tmp_path: Path) -> None:
    found = detections([[1.25, 2.5, 20.125, 10]], [80], [0.123456])
    with open_submission("coco", tmp_path, COCO_CLASSES, "test-dev2017", "my net_1") as add:
        add("000000000139", found, None)
        add("285", NOTHING, None)
        add("7", found, None)
    name = "detections_test-dev2017_my-net-1_results"
    content = json.loads((tmp_path / f"{name}.json").read_text())
    record = {"category_id": 90, "bbox": [1.25, 2.5, 18.88, 7.5], "score": 0.123456}
    assert content == [{"image_id": 139} | record, {"image_id": 7} | record]
    with zipfile.ZipFile(tmp_path / f"{name}.zip") as archive:
        assert archive.namelist() == [f"{name}.json"]
        assert json.loads(archive.read(f"{name}.json")) == content


def test_cocos_results_without_any_detection_are_an_empty_list(tmp_path: Path) -> None:
    with coco_results(tmp_path / "a.json", COCO_CLASSES) as add:
        add("1", NOTHING, None)
    assert json.loads((tmp_path / "a.json").read_text()) == []


@pytest.mark.parametrize(
    ("server", "names", "text"),
    [
        ("kitti", VOC_CLASSES, "no server is called 'kitti'; choose from voc, coco"),
        ("voc", ("background", "cat"), "takes its own 20 classes; the data has cat"),
        ("coco", ("background", "cat"), "takes its own 80 classes; the data has cat"),
        ("voc", ("background", *VOC_CLASSES[:0:-1]), "takes its own 20 classes"),  # another order
    ],
)
def test_what_a_server_does_not_take_is_refused(
    tmp_path: Path, server: str, names: tuple[str, ...], text: str
) -> None:
    with pytest.raises(InputError, match=text):
        open_submission(server, tmp_path, names, "test", "net")


@pytest.mark.parametrize(
    ("image", "found", "text"),
    [
        ("COCO_1", NOTHING, "image 'COCO_1': COCO's ids are numbers"),
        ("1", None, "COCO's server takes boxes, but this network does not detect"),
    ],
)
def test_images_that_coco_cannot_take_get_one_line_and_leave_no_file(
    tmp_path: Path, image: str, found: Any, text: str
) -> None:
    results = coco_results(tmp_path / "a.json", COCO_CLASSES)
    with pytest.raises(InputError, match=text), results as add:
        add(image, found, None)
    assert list(tmp_path.iterdir()) == []


def measure(annotations: Path, results: Path) -> tuple[float, float]:
    """COCO's AP 0.5:0.95 and AP 0.5, by pycocotools."""
    coco = pytest.importorskip("pycocotools.coco")
    cocoeval = pytest.importorskip("pycocotools.cocoeval")
    with redirect_stdout(io.StringIO()):
        truth = coco.COCO(str(annotations))
        evaluation = cocoeval.COCOeval(truth, truth.loadRes(str(results)), "bbox")
        evaluation.evaluate()
        evaluation.accumulate()
        evaluation.summarize()
    return float(evaluation.stats[0]), float(evaluation.stats[1])


def add_truth(add: AddImage, source: LabelSource) -> int:
    """Submit every object that is not ignored as a detection; return their number."""
    total = 0
    for index in range(len(source)):
        sample = source.read(index)
        assert sample.boxes is not None
        counted = ~sample.difficult
        boxes, labels = sample.boxes[counted], sample.labels[counted]
        total += len(boxes)
        add(source.image_id(index), (boxes, labels, np.ones(len(boxes), np.float32)), None)
    return total


def assert_truth_as_predictions_has_an_ap_of_1(images: Path, annotations: Path, out: Path) -> int:
    """Returns the number of objects."""
    source = CocoEntry(images=images, annotations=annotations).open(Path(), COCO_CLASSES)
    with coco_results(out / "results.json", COCO_CLASSES) as add:
        total = add_truth(add, source)
    assert measure(annotations, out / "results.json") == pytest.approx((1, 1))
    return total


@old_copy_protocol
def test_drawn_truth_as_predictions_has_an_ap_of_1(tmp_path: Path) -> None:
    annotations = COCO_MINI / "annotations/instances_mini.json"
    assert (
        assert_truth_as_predictions_has_an_ap_of_1(COCO_MINI / "images", annotations, tmp_path) == 6
    )


@old_copy_protocol
@pytest.mark.data
@pytest.mark.parametrize("split", ["train2017", "val2017"])
def test_truth_of_real_coco_images_as_predictions_has_an_ap_of_1(
    tmp_path: Path, split: str
) -> None:
    root = Path(os.environ["BLITZNET_DATA"]).parent / "coco-mini"
    annotations = root / "annotations" / f"instances_{split}.json"
    images = root / "images" / split
    assert assert_truth_as_predictions_has_an_ap_of_1(images, annotations, tmp_path) > 100
