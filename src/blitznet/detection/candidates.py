"""The few pairs of anchor and class, of up to a million a picture, that take part in NMS."""

import math
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from blitznet.detection import box_coder
from blitznet.detection.best_of_classes import best_of_classes
from blitznet.detection.limits import PRE_NMS_PER_CLASS
from blitznet.detection.score_order import SCORE_BITS, from_rank, to_rank

# By so much of itself a score may be off through rounding, generously: float32 and 81 classes.
_ROUNDING = 1e-4
# Before a whole picture is compared, every 17th anchor of it is.
_SAMPLE_STRIDE = 17
# From one pair to so many anchors on, it is cheaper to score every anchor of the picture.
_ANCHORS_PER_PAIR = 2


class Candidates(NamedTuple):
    """Sorted by picture, class, falling score, anchor; at most 400 a class and picture.

    Attributes:
        images: (N,) int64 position in the batch.
        columns: (N,) int64 class id minus 1.
        anchors: (N,) int64.
        scores: (N,) float32.
        boxes: (N, 4) float32 xyxy inside the input.
    """

    images: np.ndarray
    columns: np.ndarray
    anchors: np.ndarray
    scores: np.ndarray
    boxes: Tensor


class _Pairs(NamedTuple):
    """Pairs of anchor and class in any order; (N,) each, `rows` are image * A + anchor."""

    rows: np.ndarray
    columns: np.ndarray
    scores: np.ndarray


class BoxDecoder:
    """Decodes the boxes that are asked for, of a whole batch.

    Args:
        box_deltas: (B, A, 4), of any floating type.
        anchors: (A, 4) xyxy, input pixels.
        image_size: S; boxes are clipped to 0..S.
    """

    def __init__(self, box_deltas: Tensor, anchors: Tensor, image_size: int):
        self._deltas = box_deltas.reshape(-1, 4)
        self._anchors = anchors
        self._image_size = image_size

    def decode(self, rows: np.ndarray) -> Tensor:
        """Boxes (N, 4) of rows image * A + anchor."""
        deltas = self._deltas[torch.from_numpy(rows)].float()
        anchors = self._anchors[torch.from_numpy(rows % len(self._anchors))]
        return box_coder.decode(deltas, anchors).clamp(0, self._image_size)


def select_candidates(
    class_logits: Tensor,
    decoder: BoxDecoder,
    score_threshold: float,
    per_class: int = PRE_NMS_PER_CLASS,
) -> Candidates:
    """The best scores of every class, of those that reach the threshold and whose box has an area.

    No score exceeds sigmoid(class logit - background logit). This bound, one comparison a logit,
    drops nearly all anchors of a usual picture before any exponential.

    Args:
        class_logits: (B, A, C), background first; float32, bfloat16 or float16, on the CPU.
        decoder: of the same batch.
        score_threshold: least score, inclusive, 0..1.
        per_class: how many of a class and picture; of equal scores the earlier anchors.
    """
    _, num_anchors, num_classes = class_logits.shape
    found = _score(class_logits, score_threshold, per_class)
    candidates = _cut_and_decode(found, class_logits.shape, decoder, per_class)
    has_area = _has_area(candidates.boxes).numpy()
    if has_area.all():
        return candidates
    # Where a class is full, the places of its boxes without area go to the next best.
    groups = candidates.images * num_classes + candidates.columns
    is_full = np.bincount(groups) >= per_class
    again = np.unique(candidates.images[~has_area & is_full[groups]])
    is_kept = has_area & ~np.isin(candidates.images, again)
    kept = _Pairs(
        candidates.images[is_kept] * num_anchors + candidates.anchors[is_kept],
        candidates.columns[is_kept],
        candidates.scores[is_kept],
    )
    found = [kept]
    for image in again:
        first_row = image * num_anchors
        boxes = decoder.decode(first_row + np.arange(num_anchors))
        found.append(
            _score_all(
                class_logits[image], first_row, score_threshold, per_class, _has_area(boxes).numpy()
            )
        )
    return _cut_and_decode(found, class_logits.shape, decoder, per_class)


def _score(class_logits: Tensor, score_threshold: float, per_class: int) -> list[_Pairs]:
    """All pairs that reach the threshold, or of pictures with very many, the best of them."""
    num_anchors = class_logits.shape[1]
    few, found = [np.zeros(0, dtype=np.int64)], []
    for image, logits in enumerate(class_logits):
        sample = _may_reach(logits[::_SAMPLE_STRIDE], score_threshold).numpy()
        if np.count_nonzero(sample) * _ANCHORS_PER_PAIR <= len(sample):
            passing = _may_reach(logits, score_threshold).reshape(-1).numpy()
            if np.count_nonzero(passing) * _ANCHORS_PER_PAIR <= num_anchors:
                few.append(np.flatnonzero(passing) + image * passing.size)
                continue
        found.append(_score_all(logits, image * num_anchors, score_threshold, per_class))
    found.append(_score_few(class_logits, np.concatenate(few), score_threshold))
    return found


def _cut_and_decode(
    found: list[_Pairs], shape: torch.Size, decoder: BoxDecoder, per_class: int
) -> Candidates:
    """The best `per_class` of every class and picture, whatever the area of their boxes."""
    num_images, num_anchors, num_classes = shape
    images, columns, anchors, scores = _sort(found, num_images, num_anchors, num_classes - 1)
    is_best = _rank_in_run(images * num_classes + columns) < per_class
    if not is_best.all():
        images, columns, anchors, scores = (
            values[is_best] for values in (images, columns, anchors, scores)
        )
    boxes = decoder.decode(images * num_anchors + anchors)
    return Candidates(images, columns, anchors, scores, boxes)


def _may_reach(class_logits: Tensor, score_threshold: float) -> Tensor:
    """(B, A, C - 1) bool, False only where the score is certainly below the threshold."""
    least = score_threshold * (1 - _ROUNDING)
    bound = math.log(least / (1 - least)) if least > 0 else -math.inf
    return class_logits[..., 1:] >= class_logits[..., :1] + bound


def _score_few(class_logits: Tensor, pairs: np.ndarray, score_threshold: float) -> _Pairs:
    """Those of `pairs`, row * (C - 1) + column, that reach the threshold."""
    num_classes = class_logits.shape[-1]
    rows = pairs // (num_classes - 1)
    columns = pairs - rows * (num_classes - 1)
    logits = class_logits.reshape(-1, num_classes)[torch.from_numpy(rows)]
    probabilities = logits.float().softmax(dim=-1)
    scores = probabilities.gather(1, torch.from_numpy(columns)[:, None] + 1)[:, 0]
    reached = (scores >= score_threshold).numpy()
    return _Pairs(rows[reached], columns[reached], scores.numpy()[reached])


def _score_all(
    logits: Tensor,
    first_row: int,
    score_threshold: float,
    per_class: int,
    has_area: np.ndarray | None = None,
) -> _Pairs:
    """The best of every class of one picture that has very many candidates.

    Args:
        logits: (A, C).
        first_row: of the picture.
        score_threshold: least score, inclusive.
        per_class: how many.
        has_area: (A,) bool, anchors to choose from; None = all.
    """
    scores = logits.float().softmax(dim=-1)[:, 1:].numpy()
    if has_area is not None:
        scores[~has_area] = -1
    anchors, columns = best_of_classes(scores, score_threshold, per_class)
    return _Pairs(first_row + anchors, columns, scores[anchors, columns])


def _has_area(boxes: Tensor) -> Tensor:
    return (boxes[:, 2] > boxes[:, 0]) & (boxes[:, 3] > boxes[:, 1])


def _sort(
    found: list[_Pairs], num_images: int, num_anchors: int, num_columns: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Images, columns, anchors and scores of all pairs, in the order of `Candidates`.

    One integer holds all four: image, class, rank of the score, anchor, from high bits to low.
    """
    column_bits, anchor_bits = num_columns.bit_length(), num_anchors.bit_length()
    assert num_images.bit_length() + column_bits + SCORE_BITS + anchor_bits <= 63
    rows, columns, scores = (np.concatenate(parts) for parts in zip(*found, strict=True))
    images = rows // num_anchors
    keys = images << column_bits | columns
    keys = keys << SCORE_BITS | to_rank(scores)
    keys = keys << anchor_bits | (rows - images * num_anchors)
    keys.sort()
    anchors = keys & ((1 << anchor_bits) - 1)
    keys >>= anchor_bits
    scores = from_rank(keys & ((1 << SCORE_BITS) - 1))
    keys >>= SCORE_BITS
    return keys >> column_bits, keys & ((1 << column_bits) - 1), anchors, scores


def _rank_in_run(groups: np.ndarray) -> np.ndarray:
    """Of sorted values, how many equal ones come before each."""
    starts = np.flatnonzero(np.diff(groups, prepend=-1))
    return np.arange(len(groups)) - np.repeat(starts, np.diff(starts, append=len(groups)))
