"""Images that look the same, though their pixels differ."""

import numpy as np
from PIL import Image

# Re-saved and scaled copies of photos differ in 0 to 2 bits of 64, and by under 1 grey level.
NEAR_BITS = 4
NEAR_GREY = 8.0

FALL = 2  # grey levels; less is noise, which would make random bits of flat areas

_ROWS_AT_ONCE = 1024


def grey_cells(image: Image.Image) -> np.ndarray:
    """(8, 9) uint8: the mean brightness of 8 rows of 9 cells, whatever the image's size."""
    return np.asarray(image.convert("L").resize((9, 8), Image.Resampling.BOX))


def near_duplicates(cells: np.ndarray) -> np.ndarray:
    """All pairs of images that look the same, by their (N, 8, 9) uint8 `grey_cells`.

    Two are compared by where brightness falls from left to right, by more than `FALL` ("dHash"),
    which scale and compression hardly change.

    Returns:
        (P, 2) int64 indices, the smaller first, sorted, each pair once: at most `NEAR_BITS` of the
        64 bits differ, and, as these say nothing of flat images, the cells by at most `NEAR_GREY`
        on average, after their means are made equal.
    """
    falls = (cells[:, :, :-1].astype(np.int16) - cells[:, :, 1:] > FALL).reshape(-1, 64)
    signs = np.where(falls, 1, -1).astype(np.float32)  # a product sums equal minus unequal bits
    relative = cells - cells.mean(axis=(1, 2), keepdims=True)
    found = [np.zeros((0, 2), np.int64)]
    for start in range(0, len(cells), _ROWS_AT_ONCE):
        products = signs[start : start + _ROWS_AT_ONCE] @ signs[start:].T
        pairs = start + np.argwhere(np.triu(products >= 64 - 2 * NEAR_BITS, k=1))
        for part in np.array_split(pairs, 1 + len(pairs) // _ROWS_AT_ONCE):
            difference = abs(relative[part[:, 0]] - relative[part[:, 1]]).mean(axis=(1, 2))
            found.append(part[difference <= NEAR_GREY])
    return np.concatenate(found)
