"""The joint loss: the unweighted sum of both tasks' losses (sections 3.6 and 4.4)."""

from collections.abc import Callable
from typing import NamedTuple

import torch
from torch import Tensor

from blitznet.classes import IGNORE_INDEX
from blitznet.losses.multibox import multibox_loss, multibox_targets
from blitznet.losses.segmentation import resize_maps, segmentation_loss
from blitznet.structures import Batch, RawPredictions, SoftLabels


class LossTerms(NamedTuple):
    """Scalar losses of one step; 0 for a task without a head or without labels in the batch."""

    classification: Tensor
    box: Tensor
    segmentation: Tensor

    @property
    def total(self) -> Tensor:
        """The loss that is minimised."""
        return self.classification + self.box + self.segmentation


class LabelCounts(NamedTuple):
    """Divisors of the losses of a batch, as scalars.

    Attributes:
        positives: anchors matched to an object.
        pixels: labelled pixels, at the resolution of the loss.
    """

    positives: Tensor
    pixels: Tensor


def count_labels(batch: Batch, anchors: Tensor, seg_size: int) -> LabelCounts:
    """The counts that `joint_loss` divides by, without running the network.

    Args:
        batch: on the same device as the anchors.
        anchors: (A, 4) xyxy, input pixels.
        seg_size: side of the segmentation logits.

    Returns:
        float32 scalars, as in the losses.
    """
    targets = multibox_targets(anchors, batch.boxes, batch.labels, batch.has_boxes)
    seg_maps = resize_maps(batch.seg_maps, (seg_size, seg_size))
    return LabelCounts(targets.positive.sum().float(), (seg_maps != IGNORE_INDEX).sum().float())


def joint_loss(
    raw: RawPredictions,
    batch: Batch,
    anchors: Tensor,
    average_count: Callable[[Tensor], Tensor] = lambda count: count,
    counts: LabelCounts | None = None,
    soft_labels: SoftLabels | None = None,
    min_negatives: int = 0,
) -> LossTerms:
    """Classification and box loss per positive anchor, segmentation loss per labelled pixel.

    A head gets no gradient from an image without its labels. A batch without such labels costs
    exactly 0 and still gives every parameter a zero gradient, which keeps processes in step. For
    classes that an image's source does not label, see `partial_labels`.

    Args:
        raw: predictions of the network, any float type; the loss is computed in float32 or float64.
        batch: on the same device.
        anchors: (A, 4) xyxy, input pixels.
        average_count: mean of a scalar over all processes, so that averaged gradients of n
            processes equal those of one with the joined batch.
        counts: divide by these counts, those of the batch that this one is a part of, instead.
        soft_labels: a teacher's labels for the batch; they and the true labels count half each.
        min_negatives: minimum number of hard negatives per image; without positives, the loss is
            divided by 1.
    """
    device = anchors.device
    classification = box = segmentation = torch.zeros((), device=device)
    if raw.class_logits is not None and raw.box_deltas is not None:
        targets = multibox_targets(anchors, batch.boxes, batch.labels, batch.has_boxes)
        class_sum, box_sum, num_positive = multibox_loss(
            _at_least_float32(raw.class_logits),
            _at_least_float32(raw.box_deltas),
            targets,
            batch.known_classes,
            None if soft_labels is None else soft_labels.of_boxes,
            min_negatives,
        )
        normalizer = average_count(num_positive.float()) if counts is None else counts.positives
        normalizer = torch.where(normalizer > 0, normalizer, 1)
        classification, box = class_sum / normalizer, box_sum / normalizer
    if raw.seg_logits is not None:
        pixel_sum, num_pixels = segmentation_loss(
            _at_least_float32(raw.seg_logits),
            batch.seg_maps,
            batch.known_classes,
            None if soft_labels is None else soft_labels.of_pixels,
        )
        normalizer = average_count(num_pixels.float()) if counts is None else counts.pixels
        segmentation = pixel_sum / torch.where(normalizer > 0, normalizer, 1)
    return LossTerms(classification, box, segmentation)


def _at_least_float32(tensor: Tensor) -> Tensor:
    return tensor if tensor.dtype == torch.float64 else tensor.float()
