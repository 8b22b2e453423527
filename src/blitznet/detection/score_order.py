"""Scores as integers, so that one plain sort orders by several things at once, ties included."""

import numpy as np

# A score's bits are below this: scores are in 0..1, and 1.0 is 0x3F800000.
SCORE_BITS = 30
_TOP = (1 << SCORE_BITS) - 1


def to_rank(scores: np.ndarray) -> np.ndarray:
    """(N,) float32 in 0..1 to (N,) int64 of SCORE_BITS bits, the better the lower.

    Bits of floats from 0 on, read as integers, are ordered as the floats are.
    """
    rank: np.ndarray = _TOP - np.ascontiguousarray(scores).view(np.int32).astype(np.int64)
    return rank


def from_rank(rank: np.ndarray) -> np.ndarray:
    """The inverse of `to_rank`."""
    return (_TOP - rank).astype(np.int32).view(np.float32)
