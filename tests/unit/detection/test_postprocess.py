import numpy as np
import pytest
import torch
from torch import Tensor

from blitznet.detection.limits import Limits
from blitznet.detection.postprocess import decode_detections
from blitznet.structures import RawPredictions

ANCHORS = torch.tensor([[0.0, 0.0, 10.0, 10.0], [20.0, 20.0, 40.0, 40.0], [50.0, 50.0, 70.0, 60.0]])


def raw_of(probabilities: list[list[float]], box_deltas: Tensor | None = None) -> RawPredictions:
    """Raw predictions of one image from the class probabilities of every anchor."""
    class_logits = torch.tensor(probabilities).log()[None]
    if box_deltas is None:
        box_deltas = torch.zeros(1, len(probabilities), 4)
    return RawPredictions(class_logits, box_deltas, None)


def test_boxes_labels_and_scores_are_the_ones_worked_out_by_hand() -> None:
    raw = raw_of([[0.2, 0.7, 0.1], [0.995, 0.004, 0.001], [0.05, 0.05, 0.9]])
    detections = decode_detections(raw, ANCHORS, 64, Limits(0.08))[0]
    assert detections.labels.tolist() == [2, 1, 2]
    np.testing.assert_allclose(detections.scores, [0.9, 0.7, 0.1], rtol=1e-6)
    # The last anchor reaches beyond the image and is clipped; background is never a detection.
    expected = [[50, 50, 64, 60], [0, 0, 10, 10], [0, 0, 10, 10]]
    np.testing.assert_allclose(detections.boxes, expected, atol=1e-6)


def test_score_of_exactly_the_threshold_is_kept() -> None:
    raw = RawPredictions(torch.zeros(1, 1, 4), torch.zeros(1, 1, 4), None)  # 1/4 for every class
    assert len(decode_detections(raw, ANCHORS[:1], 64, Limits(0.25))[0].scores) == 3
    assert len(decode_detections(raw, ANCHORS[:1], 64, Limits(0.2500001))[0].scores) == 0


def test_box_with_nothing_left_inside_the_image_is_dropped() -> None:
    outside = torch.zeros(1, 3, 4)
    outside[0, 0, 0] = -20  # two anchor widths to the left
    raw = raw_of([[0.1, 0.9]] * 3, outside)
    detections = decode_detections(raw, ANCHORS, 64)[0]
    assert detections.boxes.tolist() == [[20, 20, 40, 40], [50, 50, 64, 60]]


@pytest.mark.parametrize("poison", [float("nan"), float("inf"), 1e4, -1e4])
def test_wild_predictions_of_one_anchor_leave_the_others_alone(poison: float) -> None:
    raw = raw_of([[0.1, 0.9]] * 3, torch.zeros(1, 3, 4))
    raw.box_deltas[0, 0] = poison
    raw.class_logits[0, 1] = poison
    detections = decode_detections(raw, ANCHORS, 64, Limits(0.6))[0]
    assert np.isfinite(detections.boxes).all()
    assert [50, 50, 64, 60] in detections.boxes.tolist()
    assert [20, 20, 40, 40] not in detections.boxes.tolist()


def test_image_without_candidates_has_no_detections() -> None:
    detections = decode_detections(raw_of([[0.999, 0.001]] * 3), ANCHORS, 64)[0]
    assert detections.boxes.shape == (0, 4)
    assert detections.labels.shape == detections.scores.shape == (0,)
    assert detections.labels.dtype == np.int64


def test_anchors_of_another_input_size_are_refused() -> None:
    with pytest.raises(ValueError, match="3 predictions per image but 2 anchors"):
        decode_detections(raw_of([[0.1, 0.9]] * 3), ANCHORS[:2], 64)
