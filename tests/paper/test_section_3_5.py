"""Limits of non-maximum suppression."""

from inspect import signature

from blitznet.detection.limits import Limits
from blitznet.detection.nms import per_class_nms
from blitznet.detection.postprocess import decode_detections


def test_400_candidates_a_class_50_survivors_a_class_200_an_image_at_iou_045() -> None:
    expected = Limits(score=0.01, iou=0.45, top=200, pre_nms_per_class=400, keep_per_class=50)
    assert Limits() == expected
    for function in (per_class_nms, decode_detections):
        assert signature(function).parameters["limits"].default == expected
