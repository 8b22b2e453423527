"""Post-processing in fixed shapes: no value is read back before the result is asked for.

For a GPU, which would wait at every size that depends on values. Gives what
`blitznet.detection.postprocess` gives, ties included.
"""

from typing import NamedTuple

import torch
from torch import Tensor

from blitznet.boxes import box_area
from blitznet.detection import box_coder
from blitznet.detection.limits import (
    IOU_THRESHOLD,
    KEEP_PER_CLASS,
    KEEP_PER_IMAGE,
    PRE_NMS_PER_CLASS,
    SCORE_THRESHOLD,
)
from blitznet.detections import Detections
from blitznet.structures import RawPredictions

# A sort key: the score's bits above, counted-down position below; scores from 0 on have 31 bits.
_POSITION_BITS = 32
_POSITIONS = (1 << _POSITION_BITS) - 1
_NO_KEY = -1


class PaddedDetections(NamedTuple):
    """The objects of a batch, best first, padded with zeros.

    Attributes:
        boxes: (B, 200, 4) float32 xyxy, input pixels.
        labels: (B, 200) int64 class ids; 0 on padding.
        scores: (B, 200) float32.
        counts: (B,) int64 objects of each picture.
    """

    boxes: Tensor
    labels: Tensor
    scores: Tensor
    counts: Tensor

    def to_list(self) -> list[Detections]:
        """One a picture; reads the counts, and so waits for the device."""
        counts = self.counts.tolist()
        return [
            Detections(boxes[:count], labels[:count], scores[:count])
            for boxes, labels, scores, count in zip(
                self.boxes, self.labels, self.scores, counts, strict=True
            )
        ]


def decode_padded(
    raw: RawPredictions, anchors: Tensor, image_size: int, score_threshold: float = SCORE_THRESHOLD
) -> PaddedDetections:
    """As `decode_detections`, on whatever device, in fixed shapes.

    Args:
        raw: with class_logits (B, A, C) and box_deltas (B, A, 4).
        anchors: (A, 4) xyxy, input pixels, on the same device.
        image_size: S; boxes are clipped to 0..S, and those that have no area left are dropped.
        score_threshold: least score, inclusive.
    """
    assert raw.class_logits is not None
    assert raw.box_deltas is not None
    scores = raw.class_logits.float().softmax(dim=-1)[..., 1:].transpose(1, 2)  # (B, C - 1, A)
    boxes = box_coder.decode(raw.box_deltas.float(), anchors).clamp(0, image_size)
    has_area = (boxes[..., 2:] > boxes[..., :2]).all(dim=-1)
    is_candidate = (scores >= score_threshold) & has_area[:, None]
    num_images, num_columns, num_anchors = scores.shape

    positions = torch.arange(num_anchors, device=scores.device)
    keys = _best_keys(scores, positions, is_candidate, PRE_NMS_PER_CLASS)
    anchor = _position(keys)  # (B, C - 1, 400), as all below
    rows = anchor + num_anchors * torch.arange(num_images, device=anchor.device)[:, None, None]
    candidates = boxes.reshape(-1, 4)[rows.reshape(num_images, -1)]
    candidates = candidates.reshape(num_images * num_columns, -1, 4)
    is_kept = suppress_padded(candidates, (keys != _NO_KEY).reshape(len(candidates), -1))

    columns = torch.arange(num_columns, device=scores.device)[:, None]
    pairs = (anchor * num_columns + columns).reshape(num_images, -1)
    best = _best_keys(
        _score(keys).reshape(num_images, -1),
        pairs,
        is_kept.reshape(num_images, -1),
        KEEP_PER_IMAGE,
    )
    is_object, pair = best != _NO_KEY, _position(best)
    anchor, column = pair // num_columns, pair % num_columns
    found = boxes.gather(1, anchor[..., None].expand(-1, -1, 4))
    return PaddedDetections(
        torch.where(is_object[..., None], found, 0),
        torch.where(is_object, column + 1, 0),
        torch.where(is_object, _score(best), 0),
        is_object.sum(dim=1),
    )


def suppress_padded(
    boxes: Tensor,
    is_candidate: Tensor,
    iou_threshold: float = IOU_THRESHOLD,
    keep: int = KEEP_PER_CLASS,
) -> Tensor:
    """Greedy suppression in every one of many groups, in `keep` rounds whatever the values.

    A round takes the best box left of every group and drops what overlaps it.

    Args:
        boxes: (G, N, 4) xyxy, best score first.
        is_candidate: (G, N) bool.
        iou_threshold: see `suppress`.
        keep: survivors of a group, the best ones.

    Returns:
        (G, N) bool, whether a box survives.
    """
    limit = _float_not_above(iou_threshold)
    areas = box_area(boxes)
    top_left, bottom_right = boxes[..., :2], boxes[..., 2:]
    positions = torch.arange(boxes.shape[1], device=boxes.device)
    left, is_kept = is_candidate, torch.zeros_like(is_candidate)
    for _ in range(min(keep, boxes.shape[1])):
        best = left.to(torch.uint8).argmax(dim=1, keepdim=True)  # the first one
        is_best = (positions == best) & left
        is_kept = is_kept | is_best
        box = boxes.gather(1, best[..., None].expand(-1, -1, 4))
        overlap = torch.minimum(bottom_right, box[..., 2:]) - torch.maximum(top_left, box[..., :2])
        width, height = overlap.clamp(min=0).unbind(dim=-1)
        intersection = width * height
        iou = intersection / (areas.gather(1, best) + areas - intersection)
        left = left & ~((iou > limit) | is_best)
    return is_kept


def _best_keys(scores: Tensor, positions: Tensor, is_candidate: Tensor, count: int) -> Tensor:
    """(..., count) int64 keys of the best candidates, of equal scores the lower positions first.

    Padded with _NO_KEY. Keys differ from each other, so that no sort is asked for ties.
    """
    keys = (scores.contiguous().view(torch.int32).long() << _POSITION_BITS) | (
        _POSITIONS - positions
    )
    keys = torch.where(is_candidate, keys, _NO_KEY)
    best = keys.topk(min(count, keys.shape[-1]), dim=-1).values
    return torch.nn.functional.pad(best, (0, count - best.shape[-1]), value=_NO_KEY)


def _score(keys: Tensor) -> Tensor:
    return (keys >> _POSITION_BITS).int().view(torch.float32)


def _position(keys: Tensor) -> Tensor:
    """Of padding, 0."""
    return torch.where(keys == _NO_KEY, 0, _POSITIONS - (keys & _POSITIONS))


def _float_not_above(value: float) -> float:
    """What a float32 has to exceed to exceed `value`, as torchvision compares in float64."""
    rounded = torch.tensor(value, dtype=torch.float32)
    if rounded.double() > value:
        rounded = torch.nextafter(rounded, torch.tensor(-1.0))
    return float(rounded)
