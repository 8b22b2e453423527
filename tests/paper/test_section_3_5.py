"""Limits of non-maximum suppression."""

from inspect import signature

from blitznet.detection.nms import per_class_nms
from blitznet.detection.postprocess import decode_detections


def test_400_candidates_a_class_50_survivors_a_class_200_a_picture_at_iou_045() -> None:
    parameters = signature(per_class_nms).parameters
    defaults = {name: parameters[name].default for name in list(parameters)[3:]}
    assert defaults == {
        "iou_threshold": 0.45,
        "pre_nms_per_class": 400,
        "keep_per_class": 50,
        "keep_per_image": 200,
    }


def test_candidates_have_a_score_of_one_hundredth_at_least() -> None:
    assert signature(decode_detections).parameters["score_threshold"].default == 0.01
