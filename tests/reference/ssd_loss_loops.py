"""The losses by their equations: SSD's for boxes (equations 1 to 3), cross-entropy for pixels."""

import math
from collections.abc import Sequence

import numpy as np

from reference.ssd_matching_loops import NO_MATCH, match_loops

IGNORE_LABEL = -1
IGNORE_INDEX = 255


def cross_entropy(logits: Sequence[float], label: int) -> float:
    """Minus the logarithm of the softmax at `label`."""
    largest = max(logits)
    return math.log(sum(math.exp(logit - largest) for logit in logits)) + largest - logits[label]


def smooth_l1(difference: float) -> float:
    """Quadratic below one, linear beyond."""
    size = abs(difference)
    return 0.5 * size**2 if size < 1 else size - 0.5


def encode(box: Sequence[float], anchor: Sequence[float]) -> list[float]:
    """SSD, equation 2, divided by its variances 0.1 and 0.2."""
    anchor_width, anchor_height = anchor[2] - anchor[0], anchor[3] - anchor[1]
    dx = ((box[0] + box[2]) / 2 - (anchor[0] + anchor[2]) / 2) / anchor_width
    dy = ((box[1] + box[3]) / 2 - (anchor[1] + anchor[3]) / 2) / anchor_height
    dw = math.log((box[2] - box[0]) / anchor_width)
    dh = math.log((box[3] - box[1]) / anchor_height)
    return [dx / 0.1, dy / 0.1, dw / 0.2, dh / 0.2]


def multibox_loss_loops(
    class_logits: np.ndarray,
    box_deltas: np.ndarray,
    anchors: np.ndarray,
    boxes: np.ndarray,
    labels: np.ndarray,
    has_boxes: Sequence[bool],
) -> tuple[float, float, int]:
    """Sum of the classification loss, sum of the box loss, number of positives of a batch."""
    class_sum, box_sum, num_positive = 0.0, 0.0, 0
    for image in range(len(class_logits)):
        if not has_boxes[image]:
            continue
        match = match_loops(anchors, boxes[image], labels[image])
        positives = 0
        background_losses = []
        for a, g in enumerate(match):
            logits = class_logits[image, a]
            if g == NO_MATCH:
                background_losses.append(cross_entropy(logits, 0))
            elif labels[image, g] != IGNORE_LABEL:
                positives += 1
                class_sum += cross_entropy(logits, labels[image, g])
                target = encode(boxes[image, g], anchors[a])
                box_sum += sum(smooth_l1(box_deltas[image, a, i] - target[i]) for i in range(4))
        class_sum += sum(sorted(background_losses, reverse=True)[: 3 * positives])
        num_positive += positives
    return class_sum, box_sum, num_positive


def segmentation_loss_loops(seg_logits: np.ndarray, seg_maps: np.ndarray) -> tuple[float, int]:
    """Sum over labelled pixels of the logits' size, and their number.

    A pixel's label is that of the map's pixel under its centre.
    """
    total, count = 0.0, 0
    num_images, _, height, width = seg_logits.shape
    for image in range(num_images):
        for y in range(height):
            for x in range(width):
                row = int((y + 0.5) * seg_maps.shape[1] / height)
                column = int((x + 0.5) * seg_maps.shape[2] / width)
                label = int(seg_maps[image, row, column])
                if label != IGNORE_INDEX:
                    total += cross_entropy(seg_logits[image, :, y, x].tolist(), label)
                    count += 1
    return total, count
