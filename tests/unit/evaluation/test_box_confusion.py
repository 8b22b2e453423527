"""The confusion matrix of boxes laid out by hand."""

from blitznet.detections import Detections
from blitznet.evaluation.average_precision import TrueBoxes
from blitznet.evaluation.box_confusion import box_confusion
from reference.voc_ap_devkit import make_image

A, B, FAR = (0, 0, 10, 10), (20, 20, 40, 30), (60, 60, 70, 70)
CAT, DOG = 1, 2
Box = tuple[int, int, int, int]


def confusion(
    found: list[tuple[Box, int, float]],
    true: list[tuple[Box, int]],
    difficult: tuple[int, ...] = (),
) -> list[list[int]]:
    each = make_image(found, [(*one, index in difficult) for index, one in enumerate(true)])
    counts = box_confusion(Detections(*each[:3]), TrueBoxes(*each[3:]), 3, score=0.5)
    return counts.tolist()


def test_right_wrong_missed_and_invented() -> None:
    found = [(A, CAT, 0.9), (B, CAT, 0.8), (FAR, DOG, 0.7)]
    true = [(A, CAT), (B, DOG), ((80, 80, 90, 90), DOG)]
    assert confusion(found, true) == [[0, 0, 1], [0, 1, 0], [1, 1, 0]]


def test_a_box_is_claimed_by_the_better_score_alone() -> None:
    assert confusion([(A, DOG, 0.6), (A, CAT, 0.9)], [(A, CAT)]) == [
        [0, 0, 1],
        [0, 1, 0],
        [0, 0, 0],
    ]


def test_what_scores_too_little_is_not_found() -> None:
    assert confusion([(A, CAT, 0.49)], [(A, CAT)]) == [[0, 0, 0], [1, 0, 0], [0, 0, 0]]


def test_difficult_boxes_count_in_no_way() -> None:
    assert confusion([(A, CAT, 0.9), (A, DOG, 0.8)], [(A, CAT), (B, DOG)], (0, 1)) == [[0] * 3] * 3


def test_nothing_found_where_nothing_is_counts_nothing() -> None:
    assert confusion([], []) == [[0] * 3] * 3
