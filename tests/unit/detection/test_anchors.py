import itertools
import math

import pytest
import torch
from torchvision.ops import box_convert

from blitznet.detection.anchors import level_scales
from tiny_network import anchors_of_levels


def test_the_six_anchors_of_a_single_cell_are_the_ones_worked_out_by_hand() -> None:
    # One level: scale 0.4, the next one would be 0.9, so the square between has side 0.6.
    anchors = anchors_of_levels(100, [1], finest=0.4, second=0.9, coarsest=0.9)
    long_2, short_2 = 40 * math.sqrt(2), 40 / math.sqrt(2)
    long_3, short_3 = 40 * math.sqrt(3), 40 / math.sqrt(3)
    expected = [
        (50, 50, 40, 40),
        (50, 50, 60, 60),
        (50, 50, long_2, short_2),
        (50, 50, short_2, long_2),
        (50, 50, long_3, short_3),
        (50, 50, short_3, long_3),
    ]
    found = box_convert(anchors, "xyxy", "cxcywh")
    torch.testing.assert_close(found, torch.tensor(expected))


def test_anchors_equal_the_loop_over_levels_rows_columns_and_shapes() -> None:
    size, level_sizes = 60, (5, 3, 2, 1)
    scales = (0.1, 0.2, 0.5, 0.8, 1.1)  # its own, then 0.2 to 0.8 in two steps, and one beyond
    expected = []
    for level, cells in enumerate(level_sizes):
        side, next_side = scales[level] * size, scales[level + 1] * size
        for row, column in itertools.product(range(cells), range(cells)):
            centre = ((column + 0.5) * size / cells, (row + 0.5) * size / cells)
            between = math.sqrt(side * next_side)
            expected += [(*centre, side, side), (*centre, between, between)]
            for ratio in (2, 1 / 2, 3, 1 / 3):
                expected.append((*centre, side * math.sqrt(ratio), side / math.sqrt(ratio)))
    found = box_convert(anchors_of_levels(size, level_sizes, 0.1, 0.2, 0.8), "xyxy", "cxcywh")
    assert found[:, :2].sub(found[:, 2:] / 2).min() < 0  # not clipped to the image
    # Float32 coordinates up to 60 are good to 4e-6.
    torch.testing.assert_close(found, torch.tensor(expected), atol=1e-5, rtol=0)


@pytest.mark.parametrize(
    ("num_levels", "expected"),
    [
        (1, [0.1, 0.2]),
        (2, [0.1, 0.2, 0.8]),
        (3, [0.1, 0.2, 0.8, 1.4]),
        (5, [0.1, 0.2, 0.4, 0.6, 0.8, 1.0]),
    ],
)
def test_scales_go_linearly_from_least_to_greatest_and_one_step_beyond(
    num_levels: int, expected: list[float]
) -> None:
    assert level_scales(num_levels, 0.1, 0.2, 0.8) == pytest.approx(expected)
