"""The objects of one image."""

from typing import NamedTuple

import numpy as np


class Detections(NamedTuple):
    """The objects of one image, best score first.

    Attributes:
        boxes: (K, 4) float32 xyxy.
        labels: (K,) int64 class ids from 1 on.
        scores: (K,) float32 in 0..1.
    """

    boxes: np.ndarray
    labels: np.ndarray
    scores: np.ndarray

    @classmethod
    def none(cls) -> "Detections":
        """No objects, K = 0."""
        return cls(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.float32))
