"""The evaluation loop with the ground truth as predictions."""

import math
import multiprocessing
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from torch import nn

from blitznet.classes import VOC_CLASSES
from blitznet.data.labels import ClassTable, ImageLabels, ObjectLabel
from blitznet.data.source import LabelSource
from blitznet.data.voc import VocEntry
from blitznet.detections import Detections
from blitznet.errors import InputError
from blitznet.evaluation.evaluate import engine_of, measure
from blitznet.evaluation.metrics import Evaluation, Metrics, metrics_table
from blitznet.model_files import CheckpointInfo
from blitznet.structures import Sample
from fixtures.make_fixtures import VOC_MINI
from tiny_network import NAMES, ColourNetwork, colour_predictor, tiny_model


def samples() -> list[Sample]:
    entry = VocEntry(root=VOC_MINI, image_set="Main/trainval", masks="SegmentationClass")
    source = entry.open(Path(), VOC_CLASSES)
    return [source.read(index) for index in range(len(source))]


def truth(sample: Sample) -> Detections:
    assert sample.boxes is not None
    return Detections(sample.boxes, sample.labels, np.ones(len(sample.labels), np.float32))


def perfect() -> Evaluation:
    evaluation = Evaluation(VOC_CLASSES)
    for sample in samples():
        evaluation.update(sample, truth(sample), sample.seg_map)
    return evaluation


def test_ground_truth_given_back_is_perfect_over_the_classes_that_there_are() -> None:
    metrics = perfect().compute()
    assert metrics.pictures == 6
    assert metrics_table(metrics).caption == "6 images, 8 boxes, 5 segmentation maps"
    for mean in (*metrics.mean_ap.values(), metrics.mean_iou):
        assert math.isclose(mean, 1.0)
    assert metrics.ap["voc07"]["cat"] == 1
    assert metrics.ap["voc07"]["dog"] is None


def test_means_are_over_the_chosen_classes_and_iou_takes_background_in() -> None:
    evaluation = Evaluation(("background", "cat", "dog"))
    image = np.zeros((2, 4, 3), np.uint8)
    true_map = np.array([[0, 0, 1, 1], [0, 0, 1, 2]], np.uint8)
    predicted = np.array([[0, 0, 0, 1], [0, 0, 1, 1]], np.uint8)
    sample = Sample(image, None, np.zeros(0, np.int64), np.zeros(0, bool), true_map, "drawn")
    evaluation.update(sample, None, predicted)
    metrics = evaluation.compute(["cat"])
    assert metrics.iou == {"background": 4 / 5, "cat": 2 / 4, "dog": 0}
    assert metrics.mean_iou == pytest.approx((4 / 5 + 2 / 4) / 2)
    assert metrics.classes == ("cat",)


def test_a_task_without_labels_or_without_a_head_is_null() -> None:
    with_map = next(sample for sample in samples() if sample.seg_map is not None)
    no_pixels = Evaluation(VOC_CLASSES)
    no_pixels.update(with_map, truth(with_map), None)
    assert no_pixels.compute().mean_iou is None
    assert no_pixels.compute().iou is None
    no_boxes = Evaluation(VOC_CLASSES)
    no_boxes.update(with_map, None, with_map.seg_map)
    assert no_boxes.compute().mean_ap is None
    assert no_boxes.compute().ap is None


def test_a_class_that_was_never_labelled_in_training_has_no_figures() -> None:
    everything = perfect().compute()
    labelled = [name for name in VOC_CLASSES[1:] if everything.ap["voc12"][name] is not None]
    metrics = perfect().compute(learned_boxes=["cat"], learned_masks=["cat"])
    assert metrics.ap["voc12"] == dict.fromkeys(VOC_CLASSES[1:]) | {"cat": 1}
    assert metrics.iou == dict.fromkeys(VOC_CLASSES) | {"background": 1, "cat": 1}
    assert len(labelled) > 1
    assert metrics.mean_ap["voc12"] == 1


@pytest.mark.parametrize(("boxes", "masks"), [([], None), (None, []), (["red"], ["green"])])
def test_nothing_is_measured_of_heads_and_classes_that_were_never_supervised(
    boxes: list[str] | None, masks: list[str] | None
) -> None:
    network = tiny_model()
    info = CheckpointInfo(model=network.config, names=NAMES)
    info = info.model_copy(update={"supervised_boxes": boxes, "supervised_masks": masks})
    found: list[tuple[Detections | None, np.ndarray | None]] = []

    def keep(_: str, detections: Detections | None, seg_map: np.ndarray | None) -> None:
        found.append((detections, seg_map))

    metrics = measure(engine_of(network, info, "cpu"), [one_image()], workers=0, found=keep)
    ((detections, seg_map),) = found
    assert (detections is None) == (boxes == [])
    assert (seg_map is None) == (masks == [])
    assert (metrics.ap is None) == (boxes == [])
    if boxes:
        assert set(detections.labels.tolist()) <= {1}
        assert set(np.unique(seg_map).tolist()) <= {0, 2}


def one_image() -> LabelSource:
    labels = ImageLabels(VOC_MINI / "JPEGImages/000001.jpg", (), None)
    return LabelSource([0], lambda _: labels, ClassTable(NAMES))


def test_a_network_with_a_layer_of_its_own_is_measured() -> None:
    network = tiny_model()
    assert network.segmentation_head is not None
    network.segmentation_head.norm = nn.BatchNorm2d(len(NAMES))
    info = CheckpointInfo(model=network.config, names=NAMES)
    assert measure(engine_of(network, info, "cpu"), [one_image()], workers=0).pictures == 1


@pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")
def test_an_unexpected_error_leaves_no_process_behind() -> None:
    network = tiny_model()
    engine = engine_of(network, CheckpointInfo(model=network.config, names=NAMES), "cpu")
    with pytest.raises(ZeroDivisionError) as caught:
        measure(engine, [one_image()], workers=1, found=lambda *_: 1 // 0)
    assert multiprocessing.active_children() == []
    del caught  # its traceback would have kept them


def test_a_network_is_measured_on_some_of_its_classes_by_name(tmp_path: Path) -> None:
    """A blue image with a red corner and a green object that fills the network's only anchor."""
    colours = np.full((64, 64, 3), (0, 0, 255), np.uint8)
    colours[:16, :16] = (255, 0, 0)
    Image.fromarray(colours).save(tmp_path / "a.png")
    green = ObjectLabel("green", ColourNetwork.OBJECT, "a", "")
    labels = ImageLabels(tmp_path / "a.png", (green,), None)
    found: list[tuple[Detections, np.ndarray]] = []
    names = ("background", "blue", "green")
    metrics = measure(
        colour_predictor().engine,
        [LabelSource([0], lambda _: labels, ClassTable(names))],
        workers=0,
        found=lambda _, *prediction: found.append(prediction),
        evaluation=Evaluation(names),
    )
    ((detections, seg_map),) = found
    assert detections.labels.tolist() == [2]
    assert metrics.ap["voc12"] == {"blue": None, "green": 1}
    assert (seg_map[0, 0], seg_map[63, 63]) == (0, 1)


def test_an_unknown_class_is_named_with_those_there_are() -> None:
    with pytest.raises(
        InputError, match="no class is called 'unicorn'; this network has aeroplane, "
    ):
        Evaluation(VOC_CLASSES).compute(["cat", "unicorn"])


def test_what_is_found_of_a_class_that_a_source_does_not_label_neither_helps_nor_hurts() -> None:
    names = ("background", "cat", "dog")
    image = np.zeros((2, 4, 3), np.uint8)
    cat = np.array([[0, 0, 2, 2]], np.float32)
    true_map = np.array([[1, 0, 0, 0], [1, 0, 0, 255]], np.uint8)
    predicted = np.array([[1, 1, 2, 2], [2, 0, 2, 2]], np.uint8)
    found = Detections(
        np.repeat(cat, 2, axis=0), np.array([2, 1]), np.array([0.9, 0.8], np.float32)
    )

    def measure(known: np.ndarray | None) -> dict[str, float]:
        sample = Sample(image, cat, np.array([1]), np.array([False]), true_map, "drawn", known)
        with_dog = Sample(image, cat, np.array([2]), np.array([False]), None, "drawn")
        evaluation = Evaluation(names)
        evaluation.update(sample, found, predicted)
        dog = Detections(cat, np.array([2]), np.array([0.5], np.float32))
        evaluation.update(with_dog, dog, None)
        metrics = evaluation.compute()
        return {"dogs": metrics.ap["voc12"]["dog"], **metrics.iou}

    # Three background pixels and a box are called dog: wrong if dogs are labelled, else open.
    everything = {"dogs": 1 / 2, "background": 1 / 5, "cat": 1 / 3, "dog": None}
    assert measure(None) == measure(np.array([True, True, True])) == everything
    partial = {"dogs": 1, "background": 1 / 2, "cat": 1 / 3, "dog": None}
    assert measure(np.array([True, True, False])) == partial


def test_the_score_is_the_mean_of_what_there_is() -> None:
    both = Metrics(
        pictures=1, classes=("cat",), mean_ap={"voc12": 0.5}, ap={}, mean_iou=0.25, iou={}
    )
    assert both.score == 0.375
    assert replace(both, mean_iou=None).score == 0.5
    assert replace(both, mean_ap=None).score == 0.25
    assert replace(both, mean_ap={"voc12": None}).score == 0.25
    assert replace(both, mean_ap=None, mean_iou=None).score is None


KINDS = ["voc07", "voc12", "coco", "coco_50", "coco_75"]


def test_metrics_json_has_the_documented_fields() -> None:
    content = perfect().compute(["cat", "person"]).to_dict()
    assert list(content) == [
        *("model", "data", "split", "pictures", "classes"),
        *("mean_ap", "ap", "coco", "mean_iou", "iou"),
    ]
    assert content["classes"] == ["cat", "person"]
    assert [*content["ap"]] == [*content["mean_ap"]] == KINDS
    means = content["mean_ap"]
    coco = content["coco"]
    assert [coco["AP"], coco["AP50"], coco["AP75"]] == [means[kind] for kind in KINDS[2:]]
