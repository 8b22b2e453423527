import sys
from collections.abc import Sequence

import numpy as np
import pytest

from blitznet.detections import Detections
from blitznet.errors import InputError
from blitznet.evaluation.average_precision import TrueBoxes
from blitznet.evaluation.coco_ap import CocoAveragePrecision
from reference.voc_ap_devkit import Image, make_image

A, B = (0, 0, 10, 10), (20, 20, 40, 30)


def evaluate(*images: Image, kind: str = "AP") -> list[float | None]:
    return figures_of(images)[kind]


def figures_of(images: Sequence[Image], by_area: bool = True) -> dict[str, list[float | None]]:
    pytest.importorskip("pycocotools")
    metric = CocoAveragePrecision(4, by_area)
    for each in images:
        metric.update(Detections(*each[:3]), TrueBoxes(*each[3:]))
    return metric.compute()


def image_of_class_1(
    boxes: list[tuple[float, ...]],
    true_boxes: list[tuple[float, ...]],
    difficult: tuple[int, ...] = (),
) -> Image:
    """Detections in order of descending score; `difficult` are indices of true boxes."""
    scores = np.linspace(0.9, 0.1, len(boxes)).tolist()
    found = [(box, 1, score) for box, score in zip(boxes, scores, strict=True)]
    return make_image(found, [(box, 1, i in difficult) for i, box in enumerate(true_boxes)])


def test_box_of_iou_077_is_correct_at_six_of_ten_thresholds() -> None:
    result = evaluate(image_of_class_1([(0, 0, 10, 7.7)], [A]))
    assert result == [None, pytest.approx(0.6), None, None]


def test_box_of_iou_077_is_correct_at_075_and_half_a_box_at_05_alone() -> None:
    near = image_of_class_1([(0, 0, 10, 7.7)], [A])
    half = image_of_class_1([(0, 0, 10, 5.1)], [A])
    assert [evaluate(near, kind=kind)[1] for kind in ("AP50", "AP75")] == [pytest.approx(1)] * 2
    assert [evaluate(half, kind=kind)[1] for kind in ("AP50", "AP75")] == [
        pytest.approx(1),
        0,
    ]


def test_finding_one_of_two_boxes_fills_the_51_recall_points_up_to_one_half() -> None:
    assert evaluate(image_of_class_1([A], [A, B]))[1] == pytest.approx(51 / 101)


def test_false_positive_in_an_image_without_objects_counts() -> None:
    stray = image_of_class_1([A], [])
    hit = image_of_class_1([A], [A])._replace(scores=np.array([0.5]))
    assert evaluate(stray, hit)[1] == pytest.approx(1 / 2)


def test_difficult_box_neither_helps_nor_hurts() -> None:
    assert evaluate(image_of_class_1([A], [A, B], difficult=(1,)))[1] == pytest.approx(1)
    assert evaluate(image_of_class_1([B, B, A], [A, B], difficult=(1,)))[1] == pytest.approx(1)


def test_a_box_to_ignore_without_a_class_absorbs_detections_of_any_class() -> None:
    riders = image_of_class_1([A, A, B], [A, B], difficult=(0,))._replace(
        labels=np.array([1, 2, 2]), true_labels=np.array([-1, 2])
    )
    hit = image_of_class_1([A], [A])._replace(scores=np.array([0.05], np.float32))
    assert evaluate(riders, hit) == [None, pytest.approx(1), pytest.approx(1), None]


@pytest.mark.parametrize("true_boxes", [[], [A]])
def test_class_without_ground_truth_that_counts_is_none(true_boxes: list[tuple[int, ...]]) -> None:
    result = evaluate(image_of_class_1([A], true_boxes, difficult=(0,)))
    assert result == [None, None, None, None]


def test_no_detections_give_zero() -> None:
    assert evaluate(image_of_class_1([], [A])) == [None, 0, None, None]


def test_no_images_at_all_leave_every_class_none() -> None:
    assert evaluate() == [None, None, None, None]


def test_only_the_hundred_best_detections_of_an_image_count() -> None:
    assert evaluate(image_of_class_1([B] * 99 + [A], [A]))[1] == pytest.approx(1 / 100)
    assert evaluate(image_of_class_1([B] * 100 + [A], [A]))[1] == 0


def test_perfect_prediction_gives_one(images: list[Image]) -> None:
    perfect = [
        each._replace(
            boxes=each.true_boxes, labels=each.true_labels, scores=np.ones(len(each.true_labels))
        )
        for each in images
    ]
    assert evaluate(*perfect) == [None, *[pytest.approx(1)] * 3]


def test_permuting_images_changes_nothing(images: list[Image]) -> None:
    assert evaluate(*reversed(images)) == evaluate(*images)


@pytest.mark.parametrize("zoom", [1, 3, 10])  # small, medium and large boxes
def test_means_are_the_twelve_numbers_that_pycocotools_summarizes(
    images: list[Image], zoom: int
) -> None:
    images = [
        one._replace(boxes=one.boxes * zoom, true_boxes=one.true_boxes * zoom) for one in images
    ]
    coco = pytest.importorskip("pycocotools.coco")
    cocoeval = pytest.importorskip("pycocotools.cocoeval")
    truth = coco.COCO()
    truth.dataset = {
        "info": {},
        "images": [{"id": i} for i in range(len(images))],
        "categories": [{"id": label} for label in (1, 2, 3)],
        "annotations": [],
    }
    rows = []
    for i, each in enumerate(images):
        for (x1, y1, x2, y2), label, difficult in zip(*each[3:], strict=True):
            width, height = float(x2) - float(x1), float(y2) - float(y1)
            truth.dataset["annotations"].append(
                {
                    "id": len(truth.dataset["annotations"]) + 1,
                    "image_id": i,
                    "category_id": int(label),
                    "bbox": [float(x1), float(y1), width, height],
                    "area": width * height,
                    "iscrowd": int(difficult),
                }
            )
        for (x1, y1, x2, y2), label, score in zip(*each[:3], strict=True):
            rows.append([i, x1, y1, float(x2) - float(x1), float(y2) - float(y1), score, label])
    truth.createIndex()
    evaluation = cocoeval.COCOeval(truth, truth.loadRes(np.array(rows, dtype=np.float64)), "bbox")
    evaluation.evaluate()
    evaluation.accumulate()
    evaluation.summarize()

    figures = figures_of(images)
    names = "AP AP50 AP75 APs APm APl AR1 AR10 AR100 ARs ARm ARl"
    assert list(figures) == names.split()
    for per_class, expected in zip(figures.values(), evaluation.stats, strict=True):
        known = [value for value in per_class if value is not None]
        assert (np.mean(known) if known else -1) == pytest.approx(expected, abs=1e-12)


def test_without_areas_the_other_figures_are_the_same(images: list[Image]) -> None:
    every, some = figures_of(images), figures_of(images, by_area=False)
    assert some == {name: every[name] for name in some}
    assert list(some) == ["AP", "AP50", "AP75", "AR1", "AR10", "AR100"]


def test_pycocotools_prints_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    evaluate(image_of_class_1([A], [A]))
    assert capsys.readouterr() == ("", "")


def test_missing_pycocotools_is_an_input_error_that_names_the_cure(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setitem(sys.modules, "pycocotools", None)
    with pytest.raises(InputError, match=r"pip install 'blitznet\[train\]'"):
        CocoAveragePrecision(num_classes=4)
