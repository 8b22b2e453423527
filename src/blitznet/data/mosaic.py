"""Mosaics of four images, two by two: more and smaller objects, in new contexts.

"Mosaic" of Bochkovskiy, Wang and Liao, YOLOv4, 2020, section 3.3, but with centred seams.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from blitznet.classes import IGNORE_INDEX
from blitznet.structures import Sample

TILES = 4


def mosaic(tiles: Sequence[Sample]) -> Sample:
    """Combine four samples of one source.

    Args:
        tiles: samples at (S / 2, S / 2), in reading order, all with boxes or all without. A tile
            without a segmentation map is void if another tile has one.

    Returns:
        A sample at (S, S), named after the first tile.
    """
    side = len(tiles[0].image)
    void = np.full((side, side), IGNORE_INDEX, np.uint8)
    seg_map = None
    if any(tile.seg_map is not None for tile in tiles):
        seg_map = _two_by_two([void if t.seg_map is None else t.seg_map for t in tiles])
    corners = np.array([(0, 0), (side, 0), (0, side), (side, side)], np.float32)
    moved = [
        tile.boxes + np.tile(corner, 2)
        for tile, corner in zip(tiles, corners, strict=True)
        if tile.boxes is not None
    ]
    return replace(
        tiles[0],
        image=_two_by_two([tile.image for tile in tiles]),
        boxes=np.concatenate(moved) if moved else None,
        labels=np.concatenate([tile.labels for tile in tiles]),
        difficult=np.concatenate([tile.difficult for tile in tiles]),
        seg_map=seg_map,
    )


def _two_by_two(arrays: Sequence[np.ndarray]) -> np.ndarray:
    """Four arrays of one shape (side, side, ...), in reading order, to (2 side, 2 side, ...)."""
    top, bottom = np.concatenate(arrays[:2], axis=1), np.concatenate(arrays[2:], axis=1)
    return np.concatenate((top, bottom))
