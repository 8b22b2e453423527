"""The best scores of every class where nearly every anchor has one, without sorting them all."""

import math

import numpy as np
import torch

# Every 17th anchor tells about where the best 400 of a class begin; 17 has no factor in common with
# the anchors of a cell, so that all shapes are seen. The surplus makes sure that hardly ever fewer
# than the 400 lie above; where they do, the class is looked at once more.
_SAMPLE_STRIDE = 17
_SAMPLE_SURPLUS = 1.6
# A class with so many times the 400 above what the sample said is looked at once more, too.
_MOST_SURPLUS = 8


def best_of_classes(
    scores: np.ndarray, score_threshold: float, per_class: int
) -> tuple[np.ndarray, np.ndarray]:
    """Pairs that hold the best `per_class` of every class, and not many more.

    Args:
        scores: (A, C - 1) float32; NaN is never chosen.
        score_threshold: least score, inclusive.
        per_class: of equal scores the earlier anchors.

    Returns:
        (N,) int64 anchors and (N,) int64 columns, in any order.
    """
    num_columns = scores.shape[1]
    below = np.nextafter(np.float32(score_threshold), np.float32(-1))
    floors = _floors_by_sample(scores, below, per_class)
    # Torch compares rows that are this short several times faster than numpy.
    above = torch.from_numpy(scores) > torch.from_numpy(floors)
    anchors, columns = np.divmod(np.flatnonzero(above.numpy()), num_columns)
    counts = np.bincount(columns, minlength=num_columns)
    is_wrong = counts > _MOST_SURPLUS * per_class
    more = []
    for column in np.flatnonzero((counts < per_class) & (floors > below)):
        equal = _first_equal(scores[:, column], floors[column], per_class - counts[column])
        if counts[column] + len(equal) < per_class:
            is_wrong[column] = True  # the sample's floor lies too high
        else:
            more.append((equal, np.full(len(equal), column)))
    if is_wrong.any():
        is_right = ~is_wrong[columns]
        anchors, columns = anchors[is_right], columns[is_right]
    for column in np.flatnonzero(is_wrong):
        best = _best_of_class(scores[:, column], below, per_class)
        more.append((best, np.full(len(best), column)))
    if more:
        anchors = np.concatenate((anchors, *(part for part, _ in more)))
        columns = np.concatenate((columns, *(part for _, part in more)))
    return anchors, columns


def _floors_by_sample(scores: np.ndarray, below: np.float32, per_class: int) -> np.ndarray:
    """(C - 1,) float32: a score that at least `per_class` of a class reach, probably."""
    if len(scores) <= 4 * per_class:
        return np.full(scores.shape[1], below)
    sample = np.ascontiguousarray(scores[::_SAMPLE_STRIDE].T)
    np.copyto(sample, below, where=np.isnan(sample))  # NaN would rank highest
    rank = math.ceil(_SAMPLE_SURPLUS * per_class / _SAMPLE_STRIDE)
    if rank > sample.shape[1]:
        return np.full(scores.shape[1], below)
    return np.maximum(np.partition(sample, -rank, axis=1)[:, -rank], below)


def _best_of_class(scores: np.ndarray, below: np.float32, per_class: int) -> np.ndarray:
    """Anchors of the best `per_class` scores above `below`, of equal ones the earlier."""
    candidates = np.flatnonzero(scores > below)
    if len(candidates) <= per_class:
        return candidates
    scores = scores[candidates]
    floor = np.partition(scores, -per_class)[-per_class]
    above = np.flatnonzero(scores > floor)
    equal = _first_equal(scores, floor, per_class - len(above))
    best: np.ndarray = candidates[np.concatenate((above, equal))]
    return best


def _first_equal(scores: np.ndarray, value: np.float32, count: int) -> np.ndarray:
    """The first `count` positions with just this score, or fewer."""
    start = 8 * count  # where very many scores are equal, there is no need to look at them all
    found = np.flatnonzero(scores[:start] == value)
    if len(found) < count:
        found = np.concatenate((found, start + np.flatnonzero(scores[start:] == value)))
    return found[:count]
