"""Thumbnails of images and pairs of near-duplicates, compared with plain loops."""

from itertools import combinations, pairwise

import numpy as np
import pytest
from PIL import Image

from blitznet.data.check.check import FALL, NEAR_BITS, NEAR_GREY, near_duplicates
from blitznet.data.check.image_check import grey_cells

RNG = np.random.default_rng


def photograph(seed: int, size: tuple[int, int] = (120, 90)) -> Image.Image:
    """Large smooth blobs and fine noise, like a photo."""
    rng = RNG(seed)
    blobs = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
    smooth = np.asarray(blobs.resize(size, Image.Resampling.BICUBIC)).astype(int)
    noisy = smooth + rng.integers(-9, 10, smooth.shape)
    return Image.fromarray(noisy.clip(0, 255).astype(np.uint8))


def test_cells_are_means_of_areas() -> None:
    pixels = np.zeros((16, 18, 3), np.uint8)
    pixels[:2, :2] = 100
    pixels[14:, 17] = 200
    cells = grey_cells(Image.fromarray(pixels))
    expected = np.zeros((8, 9), np.uint8)
    expected[0, 0], expected[7, 8] = 100, 100
    np.testing.assert_array_equal(cells, expected)


def test_smaller_brighter_and_compressed_copies_look_the_same() -> None:
    images = [photograph(seed) for seed in range(12)]
    copy = images[3].resize((77, 58), Image.Resampling.LANCZOS)
    brighter = Image.fromarray((np.asarray(images[5]) * 0.9 + 20).astype(np.uint8))
    grey = images[7].convert("L").convert("RGB")
    cells = np.stack([grey_cells(image) for image in (*images, copy, brighter, grey)])
    assert near_duplicates(cells).tolist() == [[3, 12], [5, 13], [7, 14]]


def pairs_by_loop(cells: np.ndarray) -> list[list[int]]:
    falls = [[a - b > FALL for row in one for a, b in pairwise(row)] for one in cells.tolist()]
    pairs = []
    for i, j in combinations(range(len(cells)), 2):
        difference = (cells[i] - cells[i].mean()) - (cells[j] - cells[j].mean())
        bits = sum(a != b for a, b in zip(falls[i], falls[j], strict=True))
        if bits <= NEAR_BITS and abs(difference).mean() <= NEAR_GREY:
            pairs.append([i, j])
    return pairs


@pytest.mark.parametrize("rows_at_once", [3, 1024])
def test_pairs_are_those_of_the_loop(rows_at_once: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("blitznet.data.check.check._ROWS_AT_ONCE", rows_at_once)
    rng = RNG(1)
    cells = [rng.integers(0, 256, (8, 9), dtype=np.uint8) for _ in range(20)]
    for number in range(60):  # copies of these with 0 to 6 cells changed, and copies of copies
        copy = cells[int(rng.integers(len(cells)))].copy()
        copy.ravel()[rng.permutation(72)[: number % 7]] = 128
        cells.append(copy)
    flat = np.full((8, 9), 7, np.uint8)
    steep = np.tile(np.arange(240, 15, -25, dtype=np.uint8), (8, 1))  # the same bits as the next
    gentle = np.tile(np.arange(127, 100, -3, dtype=np.uint8), (8, 1))
    everything = np.stack([*cells, flat, flat + 90, steep, gentle, gentle + 60])
    expected = pairs_by_loop(everything)
    assert len(expected) > 50
    assert expected[-2:] == [[80, 81], [83, 84]]
    assert near_duplicates(everything).tolist() == expected
    assert near_duplicates(everything[:0]).shape == near_duplicates(everything[:1]).shape == (0, 2)
