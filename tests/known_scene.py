"""Scenes with known content."""

from collections.abc import Sequence

import numpy as np
from PIL import Image

from blitznet.scene import Scene


def make_scene(
    boxes: Sequence[Sequence[float]],
    labels: Sequence[int],
    seg_map: list[list[int]] | np.ndarray | None = None,
    scores: Sequence[float] | None = None,
    size: tuple[int, int] = (4, 3),
    names: tuple[str, ...] = ("background", "cat", "dog"),
) -> Scene:
    """A scene on a black image of the size of the map, or else of `size`; the score is 0.9."""
    if seg_map is not None:
        seg_map = np.array(seg_map, dtype=np.uint8)
        size = seg_map.shape[1], seg_map.shape[0]
    return Scene(
        boxes=np.array(boxes, dtype=np.float32).reshape(-1, 4),
        labels=np.array(labels, dtype=np.int64),
        scores=np.array(scores or [0.9] * len(labels), dtype=np.float32),
        seg_map=seg_map,
        names=names,
        image=Image.new("RGB", size),
    )
