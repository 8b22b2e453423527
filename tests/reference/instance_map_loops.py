"""A segmentation map from instances by the definition: one pixel at a time."""

from collections.abc import Sequence

import numpy as np


def combine_instances(
    instances: Sequence[tuple[int, np.ndarray]], size: tuple[int, int]
) -> np.ndarray:
    """Each pixel gets the value of the smallest instance that covers it; on a tie, of the last.

    Args:
        instances: value and (H, W) mask of each.
        size: width and height.
    """
    seg_map = np.zeros((size[1], size[0]), np.uint8)
    smallest: dict[tuple[int, int], int] = {}
    for value, mask in instances:
        pixels = [(y, x) for y, x in np.argwhere(mask).tolist()]
        for pixel in pixels:
            if pixel not in smallest or len(pixels) <= smallest[pixel]:
                smallest[pixel] = len(pixels)
                seg_map[pixel] = value
    return seg_map
