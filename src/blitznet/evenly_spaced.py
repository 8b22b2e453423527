"""Pick evenly spaced items."""

import numpy as np


def evenly_spaced(total: int, count: int) -> list[int]:
    """Up to `count` indices of 0..total-1, ascending, including the first and the last."""
    indices: list[int] = np.linspace(0, total - 1, min(total, count)).round().astype(int).tolist()
    return indices
