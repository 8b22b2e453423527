"""Limits of post-processing (section 3.5)."""

from typing import NamedTuple

SCORE_THRESHOLD = 0.01


class Limits(NamedTuple):
    """Default numbers are the paper's (section 3.5), default thresholds the authors' code's (D27).

    Attributes:
        score: minimum score of an object, inclusive.
        iou: a box is dropped if its IoU with a better, kept box of its class exceeds it.
        top: maximum objects per image.
        pre_nms_per_class: maximum candidates per class that enter NMS.
        keep_per_class: maximum objects per class that NMS keeps.
    """

    score: float = SCORE_THRESHOLD
    iou: float = 0.45
    top: int = 200
    pre_nms_per_class: int = 400
    keep_per_class: int = 50


PAPER = Limits()
