"""Images that look the same, though their pixels differ."""

from collections.abc import Iterator

import numpy as np
from PIL import Image

# Re-saved and scaled copies of photographs differ in 0 to 2 bits of 64, and by under 1 grey level.
NEAR_BITS = 4
NEAR_GREY = 8.0

FALL = 2  # grey levels; less is noise, which would make random bits of flat areas

# Two hashes that differ in 4 bits are equal in one of 5 bands: that is where pairs are looked for.
_BANDS = ((0, 13), (13, 13), (26, 13), (39, 13), (52, 12))  # first bit, number of bits
_ROWS_AT_ONCE = 1024
_BITS_SET = np.array([bin(value).count("1") for value in range(1 << 16)], np.uint8)


def grey_cells(image: Image.Image) -> np.ndarray:
    """(8, 9) uint8: the mean brightness of 8 rows of 9 cells, whatever the image's size."""
    return np.asarray(image.convert("L").resize((9, 8), Image.Resampling.BOX))


def difference_hashes(cells: np.ndarray) -> np.ndarray:
    """Where brightness falls from left to right ("dHash"): hardly changed by scale and compression.

    It falls where it does by more than `FALL`.

    Args:
        cells: (N, 8, 9) uint8, see `grey_cells`.

    Returns:
        (N,) uint64.
    """
    falls = cells[:, :, :-1].astype(np.int16) - cells[:, :, 1:] > FALL
    hashes: np.ndarray = np.packbits(falls.reshape(-1, 64), axis=1).view(np.uint64)[:, 0]
    return hashes


def count_bits(values: np.ndarray) -> np.ndarray:
    """Set bits of each uint64, as uint8; the shape stays."""
    sixteen = np.ascontiguousarray(values)[..., None].view(np.uint16)
    counts: np.ndarray = _BITS_SET[sixteen].sum(axis=-1, dtype=np.uint8)
    return counts


def near_duplicates(cells: np.ndarray) -> np.ndarray:
    """All pairs of images that look the same.

    Args:
        cells: (N, 8, 9) uint8, see `grey_cells`.

    Returns:
        (P, 2) int64 indices, the smaller first, sorted, each pair once: their hashes differ in at
        most `NEAR_BITS` bits, and, as the hash says nothing of flat images, their cells by at
        most `NEAR_GREY` on average, after their means are made equal.
    """
    if not len(cells):
        return np.zeros((0, 2), np.int64)
    pairs = near_pairs(difference_hashes(cells))
    relative = cells - cells.mean(axis=(1, 2), keepdims=True)
    differences = [
        abs(relative[part[:, 0]] - relative[part[:, 1]]).mean(axis=(1, 2))
        for part in np.array_split(pairs, 1 + len(pairs) // _ROWS_AT_ONCE)
    ]
    near: np.ndarray = pairs[np.concatenate(differences) <= NEAR_GREY]
    return near


def near_pairs(hashes: np.ndarray) -> np.ndarray:
    """All pairs that differ in at most `NEAR_BITS` bits.

    Args:
        hashes: (N,) uint64.

    Returns:
        (P, 2) int64 indices, the smaller first, sorted, each pair once.
    """
    found = [np.zeros((0, 2), np.int64)]
    for first, length in _BANDS:
        keys = (hashes >> np.uint64(first)) & np.uint64((1 << length) - 1)
        for members in _groups(keys):
            found += _near_within(hashes, members)
    return np.unique(np.concatenate(found), axis=0)


def _groups(keys: np.ndarray) -> Iterator[np.ndarray]:
    """Ascending indices of equal keys, where there are at least two."""
    order = np.argsort(keys, kind="stable")
    starts = np.flatnonzero(np.diff(keys[order])) + 1
    for group in np.split(order, starts):
        if len(group) > 1:
            yield group


def _near_within(hashes: np.ndarray, members: np.ndarray) -> Iterator[np.ndarray]:
    for start in range(0, len(members), _ROWS_AT_ONCE):
        rows, others = members[start : start + _ROWS_AT_ONCE], members[start:]
        is_near = count_bits(hashes[rows][:, None] ^ hashes[others]) <= NEAR_BITS
        row, other = np.nonzero(np.triu(is_near, k=1))
        yield np.stack((rows[row], others[other]), axis=1)
