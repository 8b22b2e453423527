"""Near-duplicates: images that look the same although their pixels differ."""

import numpy as np
from PIL import Image

# Re-saved or scaled copies of photos differ in 0 to 2 of 64 bits, and by less than 1 grey level.
NEAR_BITS = 4
NEAR_GREY = 8.0

FALL = 2  # grey levels; smaller falls are noise, which makes the bits of flat areas random

_ROWS_AT_ONCE = 1024


def grey_cells(image: Image.Image) -> np.ndarray:
    """(8, 9) uint8: mean brightness in a grid of 8 rows and 9 columns, for any image size."""
    return np.asarray(image.convert("L").resize((9, 8), Image.Resampling.BOX))


def near_duplicates(cells: np.ndarray) -> np.ndarray:
    """Find all pairs of images that look the same, from their (N, 8, 9) uint8 `grey_cells`.

    Each pair of horizontal neighbours gives a bit: whether brightness falls by more than `FALL`
    ("dHash"). Scaling and compression hardly change these bits.

    Returns:
        (P, 2) int64 pairs of indices, sorted, the smaller index first. At most `NEAR_BITS` of the
        64 bits differ. As the bits of flat images say nothing, the cells minus their mean also
        differ by at most `NEAR_GREY` on average.
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
