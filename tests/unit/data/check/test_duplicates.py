"""Looks of images, and the pairs among them, against obvious loops."""

import numpy as np
import pytest
from PIL import Image

from blitznet.data.check.duplicates import (
    NEAR_BITS,
    count_bits,
    difference_hashes,
    grey_cells,
    near_duplicates,
    near_pairs,
)

RNG = np.random.default_rng


def photograph(seed: int, size: tuple[int, int] = (120, 90)) -> Image.Image:
    """Large smooth blobs and fine noise, as photographs have."""
    rng = RNG(seed)
    blobs = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    smooth = np.asarray(blobs.resize(size, Image.Resampling.BICUBIC)).astype(int)
    noisy = smooth + rng.integers(-9, 10, smooth.shape)
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def pairs_by_loop(hashes: list[int]) -> list[list[int]]:
    return [
        [i, j]
        for i in range(len(hashes))
        for j in range(i + 1, len(hashes))
        if bin(hashes[i] ^ hashes[j]).count("1") <= NEAR_BITS
    ]


def test_the_hash_says_where_brightness_falls() -> None:
    falling = np.tile(np.arange(90, 0, -10, dtype=np.uint8), (8, 1))
    rising = falling[:, ::-1]
    flat = np.full((8, 9), 7, np.uint8)
    assert count_bits(difference_hashes(np.stack((falling, rising, flat)))).tolist() == [64, 0, 0]
    for value, expected in ((10, 1), (11, 0), (13, 0)):  # from 13, down and up again
        one = np.full((8, 9), 13, np.uint8)
        one[3, 5] = value
        assert count_bits(difference_hashes(one[None])).tolist() == [expected]


def test_cells_are_means_of_areas() -> None:
    pixels = np.zeros((16, 18, 3), np.uint8)
    pixels[:2, :2] = 100
    pixels[14:, 17] = 200
    cells = grey_cells(Image.fromarray(pixels))
    expected = np.zeros((8, 9), np.uint8)
    expected[0, 0], expected[7, 8] = 100, 100
    np.testing.assert_array_equal(cells, expected)


def test_bits_are_counted_as_python_counts_them() -> None:
    values = RNG(0).integers(0, 1 << 64, (5, 7), dtype=np.uint64)
    expected = [[bin(value).count("1") for value in row] for row in values.tolist()]
    assert count_bits(values).tolist() == expected
    assert count_bits(np.array([0, 2**64 - 1], np.uint64)).tolist() == [0, 64]


@pytest.mark.parametrize("rows_at_once", [3, 1024])
def test_near_pairs_are_those_of_the_loop(
    rows_at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("blitznet.data.check.duplicates._ROWS_AT_ONCE", rows_at_once)
    rng = RNG(1)
    hashes = [int(value) for value in rng.integers(0, 1 << 64, 60, dtype=np.uint64)]
    for number in range(140):  # copies of these with 0 to 6 bits turned, and copies of copies
        value = hashes[int(rng.integers(len(hashes)))]
        for bit in rng.permutation(64)[: number % 7].tolist():
            value ^= 1 << bit
        hashes.append(value)
    expected = pairs_by_loop(hashes)
    assert len(expected) > 100
    assert near_pairs(np.array(hashes, np.uint64)).tolist() == expected


def test_no_pictures_and_one_picture_make_no_pairs() -> None:
    assert near_duplicates(np.zeros((0, 8, 9), np.uint8)).shape == (0, 2)
    assert near_duplicates(np.zeros((1, 8, 9), np.uint8)).shape == (0, 2)


def test_smaller_brighter_and_compressed_copies_look_the_same() -> None:
    pictures = [photograph(seed) for seed in range(12)]
    copy = pictures[3].resize((77, 58), Image.Resampling.LANCZOS)
    brighter = Image.fromarray((np.asarray(pictures[5]) * 0.9 + 20).astype(np.uint8))
    grey = pictures[7].convert("L").convert("RGB")
    cells = np.stack([grey_cells(picture) for picture in (*pictures, copy, brighter, grey)])
    assert near_duplicates(cells).tolist() == [[3, 12], [5, 13], [7, 14]]


def test_pictures_whose_hashes_agree_by_chance_do_not_look_the_same() -> None:
    steep = np.tile(np.arange(240, 15, -25, dtype=np.uint8), (8, 1))
    gentle = np.tile(np.arange(127, 100, -3, dtype=np.uint8), (8, 1))
    cells = np.stack((steep, gentle, gentle + 60))
    assert len(set(difference_hashes(cells).tolist())) == 1
    assert near_duplicates(cells).tolist() == [[1, 2]]
