"""How many boxes take part, and how many remain (section 3.5)."""

from typing import NamedTuple

from blitznet.detection import limits as paper


class Limits(NamedTuple):
    """Fixed when a file is made; the defaults are the paper's.

    Attributes:
        score: least score of an object, inclusive.
        iou: a box is dropped if its IoU with a better, kept box of its class exceeds it.
        top: objects a picture.
        pre_nms_per_class: candidates a class that take part.
        keep_per_class: survivors a class.
    """

    score: float = paper.SCORE_THRESHOLD
    iou: float = paper.IOU_THRESHOLD
    top: int = paper.KEEP_PER_IMAGE
    pre_nms_per_class: int = paper.PRE_NMS_PER_CLASS
    keep_per_class: int = paper.KEEP_PER_CLASS
