"""Run lengths of masks, decoded by their usual readers."""

import numpy as np
import pytest
from pycocotools import mask as coco_mask

from blitznet.service.run_length import brush_run_length, coco_run_length

pytestmark = pytest.mark.filterwarnings("ignore:__array__ impl:DeprecationWarning")  # pycocotools

MASKS = {
    "empty": np.zeros((3, 5), bool),
    "full": np.ones((4, 2), bool),
    "one pixel": np.eye(1, 7, 3, dtype=bool).reshape(1, 7),
    "first pixel": np.eye(5, 5, dtype=bool),
    "noise": np.random.default_rng(0).random((37, 53)) > 0.5,
    "long runs": np.arange(300 * 300).reshape(300, 300) % 70_000 > 20_000,
}


def decode_brush(rle: list[int]) -> np.ndarray:
    """Label Studio's `decodeFromRLE`, bit by bit."""
    bits = "".join(f"{byte:08b}" for byte in rle)
    position = 0

    def read(count: int) -> int:
        nonlocal position
        position += count
        return int(bits[position - count : position], 2)

    total, word = read(32), read(5) + 1
    sizes = [read(4) + 1 for _ in range(4)]
    values: list[int] = []
    while len(values) < total:
        is_run, size = read(1), sizes[read(2)]
        length = read(size) + 1
        values += [read(word)] * length if is_run else [read(word) for _ in range(length)]
    return np.array(values)


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_pycocotools_reads_the_mask_back(mask: np.ndarray) -> None:
    rle = coco_run_length(mask)
    read = coco_mask.decode(coco_mask.frPyObjects(rle, *mask.shape))
    assert (read.astype(bool) == mask).all()


@pytest.mark.parametrize("mask", MASKS.values(), ids=MASKS)
def test_label_studios_decoder_reads_the_mask_back(mask: np.ndarray) -> None:
    channels = decode_brush(brush_run_length(mask)).reshape(*mask.shape, 4)
    assert (channels == 255 * mask[..., None]).all()


def test_runs_by_hand() -> None:
    mask = np.array([[0, 1, 1], [0, 0, 1]], bool)
    assert coco_run_length(mask) == {"size": [2, 3], "counts": [2, 1, 1, 2]}
    header = [0, 0, 0, 8, 0b00111_001, 0b0_0011_011, 0b1_1111_1_00, 0b011_00000, 0b000_1_00_01,
              0b1_1111111, 0b1_0000000]  # fmt: skip
    assert brush_run_length(np.array([[False, True]])) == header
