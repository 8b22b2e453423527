"""A few of many, spread evenly."""

import numpy as np


def evenly_spaced(total: int, count: int) -> list[int]:
    """Up to `count` positions of 0..total-1 in rising order, the first and the last among them."""
    positions: list[int] = np.linspace(0, total - 1, min(total, count)).round().astype(int).tolist()
    return positions
