"""The report of a measured network: files, numbers, page."""

import json
import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from blitznet.detections import Detections
from blitznet.errors import InputError
from blitznet.evaluation.metrics import Metrics
from blitznet.evaluation.report.example import draw_example
from blitznet.evaluation.report.review import DetailedEvaluation
from blitznet.evaluation.report.write import write_report
from blitznet.structures import Sample

NAMES = ("background", "cat", "<dog>")
BOX = np.array([[2, 2, 30, 20]], np.float32)


@pytest.fixture
def review() -> DetailedEvaluation:
    review = DetailedEvaluation(NAMES)
    true_map = np.zeros((30, 40), np.uint8)
    true_map[2:20, 2:30] = 1
    for label in (1, 2):
        sample = Sample(
            np.zeros((30, 40, 3), np.uint8),
            BOX,
            np.array([1]),
            np.array([False]),
            true_map,
            "a.jpg",
        )
        found = Detections(BOX, np.array([label]), np.array([0.9], np.float32))
        review.update(sample, found, np.where(true_map, label, 0).astype(np.uint8))
    return review


def metrics(review: DetailedEvaluation) -> Metrics:
    return replace(review.compute(), model="mine", data="data.yaml", split="val")


def test_the_page_shows_every_image_and_the_numbers_are_those_of_the_images(
    tmp_path: Path, review: DetailedEvaluation
) -> None:
    pytest.importorskip("matplotlib")
    fields = ("step", "classification", "box", "segmentation", "lr")
    log = [dict.fromkeys(fields, number) for number in (1.0, 2.0)]
    records = {"Recipe": {"name": "tiny"}, "Environment": {"torch": "2 & more"}}
    page = write_report(
        tmp_path / "report", review, metrics(review), log, records=records
    ).read_text()
    shown = re.findall(r'<img src="([^"]+)"', page)
    assert sorted(shown) == sorted(path.name for path in (tmp_path / "report").glob("*.png"))
    assert shown == [
        "curves.png",
        "pr_curves.png",
        "confusion_boxes.png",
        "confusion_pixels.png",
        "best_1.png",
        "worst_1.png",
    ]
    assert "Best image 1, labels and found: a.jpg, boxes F1 1.00, mIoU 1.00</h2>" in page
    for name in shown:
        Image.open(tmp_path / "report" / name).verify()
    assert "torch: 2 &amp; more" in page
    assert "&lt;dog&gt;" not in page.split("<h2>")[0]  # without ground truth it has no row
    numbers = json.loads((tmp_path / "report" / "confusion.json").read_text())
    assert numbers["boxes"] == {
        "classes": list(NAMES),
        "counts": [[0, 0, 0], [0, 1, 1], [0, 0, 0]],
    }
    pixels = 18 * 28
    assert numbers["pixels"]["counts"] == [
        [2 * (30 * 40 - pixels), 0, 0],
        [0, pixels, pixels],
        [0, 0, 0],
    ]


def test_the_values_of_the_curves_are_written_beside_their_figure(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    review = DetailedEvaluation(NAMES)
    image, away = np.zeros((30, 40, 3), np.uint8), BOX + 10
    sample = Sample(image, BOX, np.array([1]), np.array([False]), None, "a.jpg")
    boxes, scores = np.concatenate((BOX, away, BOX)), np.array([0.5, 0.9, 0.25], np.float32)
    review.update(sample, Detections(boxes, np.array([1, 1, 2]), scores), None)
    review.update(sample, Detections(BOX, np.array([1]), np.array([0.1], np.float32)), None)
    write_report(tmp_path, review, metrics(review))
    assert json.loads((tmp_path / "pr_curves.json").read_text()) == {
        "cat": {"recall": [0, 0.5, 1], "precision": [0, 0.5, 0.666667], "scores": [0.9, 0.5, 0.1]}
    }
    assert review.compute().curves["cat"].recall.tolist() == [0, 0.5, 1]


def test_a_class_that_nothing_was_found_of_gets_a_word_and_no_panel(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    review = DetailedEvaluation(NAMES)
    image = np.zeros((30, 40, 3), np.uint8)
    boxes, labels = np.repeat(BOX, 2, axis=0), np.array([1, 2])
    sample = Sample(image, boxes, labels, np.zeros(2, bool), None, "a.jpg")
    nothing = Detections(BOX[:0], labels[:0], np.zeros(0, np.float32))
    review.update(sample, nothing, None)
    write_report(tmp_path, review, metrics(review))
    assert not (tmp_path / "pr_curves.png").exists()
    review.update(sample, Detections(BOX, np.array([1]), np.array([0.9], np.float32)), None)
    page = write_report(tmp_path, review, metrics(review)).read_text()
    assert "AP (area); nothing found: &lt;dog&gt;</h2>" in page


def test_a_network_of_one_task_without_a_run_gets_what_there_is(tmp_path: Path) -> None:
    pytest.importorskip("matplotlib")
    review = DetailedEvaluation(NAMES)
    image, true_map = np.zeros((30, 40, 3), np.uint8), np.zeros((30, 40), np.uint8)
    sample = Sample(image, None, np.zeros(0, np.int64), np.zeros(0, bool), true_map, "a.jpg")
    review.update(sample, None, true_map)
    write_report(tmp_path, review, metrics(review))
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        "confusion.json",
        "confusion_pixels.png",
        "index.html",
    ]


def test_without_matplotlib_one_line_says_what_installs_it(
    tmp_path: Path, review: DetailedEvaluation, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("blitznet.extras.find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"the report needs matplotlib.*blitznet\[plots\]"):
        write_report(tmp_path / "report", review, metrics(review))
    assert not (tmp_path / "report").exists()


def test_an_example_has_labels_on_the_left_and_what_was_found_on_the_right(
    review: DetailedEvaluation,
) -> None:
    (worst,) = review.worst  # its dog is a cat
    pair = np.asarray(draw_example(worst, NAMES)).astype(int)
    width = (pair.shape[1] - 4) // 2
    assert (pair[:, width : width + 4] == 255).all()
    assert abs(pair[:, :width] - pair[:, width + 4 :]).max() > 50
    assert pair[:, :width].any()
