"""The best and worst images of an evaluation."""

from dataclasses import replace

import numpy as np
import pytest

from blitznet.detections import Detections
from blitznet.evaluation.report.review import KEPT, DetailedEvaluation
from blitznet.structures import Sample

NAMES = ("background", "cat", "dog")
BOX = np.array([[0, 0, 4, 4]], np.float32)
CAT = np.array([1])


def sample(name: str, seg_map: np.ndarray | None = None, labelled: bool = True) -> Sample:
    boxes = BOX if labelled else None
    labels = CAT if labelled else np.zeros(0, np.int64)
    image = np.zeros((4, 4, 3), np.uint8)
    return Sample(image, boxes, labels, np.zeros(len(labels), bool), seg_map, name)


def cats(*scores: float) -> Detections:
    """Some detections, all of them on the cat."""
    labels = np.ones(len(scores), np.int64)
    return Detections(np.repeat(BOX, len(scores), axis=0), labels, np.array(scores, np.float32))


def test_an_image_has_the_f1_of_its_boxes_and_the_iou_of_its_pixels() -> None:
    true_map, seg_map = np.zeros((4, 4), np.uint8), np.zeros((4, 4), np.uint8)
    true_map[:2], seg_map[:1], seg_map[3] = 1, 1, 2
    review = DetailedEvaluation(NAMES)
    review.update(sample("a", true_map), cats(0.9, 0.8, 0.3), seg_map)
    (image,) = review.best
    assert image.f1 == pytest.approx(2 / 3)  # one right, one too many, one too weak to count
    assert image.mean_iou == pytest.approx((4 / 12 + 4 / 8 + 0) / 3)
    assert image.detections.scores.tolist() == pytest.approx([0.9, 0.8])
    assert review.worst == []


def test_best_and_worst_are_in_order_and_apart() -> None:
    review = DetailedEvaluation(NAMES)
    for extra in range(2 * KEPT + 3):
        review.update(sample(f"{extra}"), cats(0.9, *[0.8] * extra), None)
    assert [image.sample.source for image in review.best] == [str(i) for i in range(KEPT)]
    last = 2 * KEPT + 2
    expected = [str(i) for i in range(last, last - KEPT, -1)]
    assert [image.sample.source for image in review.worst] == expected


def test_of_equals_the_first_are_kept() -> None:
    review = DetailedEvaluation(NAMES)
    for number in range(3 * KEPT):
        review.update(sample(f"{number}"), cats(0.9), None)
    assert [image.sample.source for image in review.best] == [str(i) for i in range(KEPT)]


def test_what_a_source_does_not_label_is_no_mistake() -> None:
    review = DetailedEvaluation(NAMES)
    known = np.array([True, True, False])
    true_map, seg_map = np.zeros((4, 4), np.uint8), np.full((4, 4), 2, np.uint8)
    seg_map[0] = 0
    a = sample("a", true_map)
    partly = Sample(a.image, a.boxes, a.labels, a.difficult, a.seg_map, a.source, known)
    boxes, _, scores = cats(0.9, 0.8)
    review.update(partly, Detections(boxes, np.array([1, 2]), scores), seg_map)
    (image,) = review.best
    assert (image.f1, image.mean_iou) == (1, None)  # of the map, only background is known
    assert review.box_counts.tolist() == [[0, 0, 0], [0, 1, 0], [0, 0, 0]]


def test_images_without_labels_or_with_nothing_to_see_are_not_ranked() -> None:
    review = DetailedEvaluation(NAMES)
    review.update(sample("a", labelled=False), cats(0.9), None)
    empty = sample("b", np.zeros((4, 4), np.uint8))
    empty = replace(empty, boxes=BOX[:0], labels=CAT[:0], difficult=np.zeros(0, bool))
    review.update(empty, cats(), np.zeros((4, 4), np.uint8))
    assert review.best == review.worst == []


def test_what_is_all_wrong_is_not_among_the_best_and_few_images_are_shared() -> None:
    review = DetailedEvaluation(NAMES)
    for name in ("a", "b", "c"):
        review.update(sample(name), cats(), None)
    assert review.best == []
    assert [image.sample.source for image in review.worst] == ["a", "b", "c"]
    for name in ("d", "e"):
        review.update(sample(name), cats(0.9), None)
    assert [image.sample.source for image in review.best] == ["d", "e"]
    assert [image.sample.source for image in review.worst] == ["a", "b", "c"]
