"""Images with detections and ground truth for the metrics of boxes."""

import numpy as np
import pytest

from reference.voc_ap_devkit import Image


@pytest.fixture(params=range(5))
def images(request: pytest.FixtureRequest) -> list[Image]:
    """A plausible detector on three classes: good and bad boxes, duplicates, misses, wrong classes.

    All scores differ. About every fifth true box is difficult.
    """
    rng = np.random.default_rng(request.param)
    return [_draw_image(rng) for _ in range(30)]


def _draw_image(rng: np.random.Generator) -> Image:
    num_true = rng.integers(0, 6)
    corners = rng.uniform(0, 60, (num_true, 2))
    true_boxes = np.concatenate((corners, corners + rng.uniform(10, 40, (num_true, 2))), axis=1)
    true_labels = rng.integers(1, 4, num_true)

    source = np.flatnonzero(rng.random(num_true) < 0.8).repeat(2)  # misses and duplicates
    boxes = true_boxes[source] + rng.normal(0, 3, (len(source), 4))
    labels = np.where(rng.random(len(source)) < 0.8, true_labels[source], 3)
    stray = np.array([[0, 0, 20, 20], [50, 50, 90, 60]])
    return Image(
        boxes=np.concatenate((boxes, stray)).astype(np.float32),
        labels=np.concatenate((labels, [1, 2])),
        scores=rng.random(len(source) + 2, dtype=np.float32),
        true_boxes=true_boxes.astype(np.float32),
        true_labels=true_labels,
        difficult=rng.random(num_true) < 0.2,
    )
