"""What post-processing keeps (section 3.5)."""

from typing import NamedTuple

SCORE_THRESHOLD = 0.01


class Limits(NamedTuple):
    """The default numbers are the paper's (section 3.5), the default thresholds the authors' (D27).

    Attributes:
        score: minimum score of an object, inclusive.
        iou: a box is dropped if its IoU with a better, kept box of its class exceeds it.
        top: maximum objects per image.
        pre_nms_per_class: candidates a class that take part in suppression.
        keep_per_class: maximum that NMS keeps per class.
    """

    score: float = SCORE_THRESHOLD
    iou: float = 0.45
    top: int = 200
    pre_nms_per_class: int = 400
    keep_per_class: int = 50


PAPER = Limits()
