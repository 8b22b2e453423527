"""Number of anchors ("proposals" in table 7), and the pyramids that they come from."""

import pytest

from blitznet.detection.anchors import anchors_of, level_scales
from blitznet.model_info import MODELS

S8_300 = (11_640, (38, 19, 10, 5, 3, 1), [0.10, 0.20, 0.3875, 0.575, 0.7625, 0.95])
S8_512 = (32_766, (64, 32, 16, 8, 4, 2, 1), [0.04, 0.10, 0.27, 0.44, 0.61, 0.78, 0.95])


@pytest.mark.parametrize(
    ("name", "num_anchors", "sides", "scales"),
    [
        (
            "blitznet300",
            45_390,
            (75, 38, 19, 10, 5, 3, 1),
            [0.04, 0.10, 0.27, 0.44, 0.61, 0.78, 0.95],
        ),
        ("blitznet300-s8", *S8_300),
        ("ssd300", *S8_300),
        ("blitznet512", *S8_512),
        ("ssd512", *S8_512),
        (
            "blitznet512-s4",
            131_070,
            (128, 64, 32, 16, 8, 4, 2, 1),
            [0.02, 0.08, 0.225, 0.37, 0.515, 0.66, 0.805, 0.95],
        ),
    ],
)
def test_anchors_are_those_of_table_7_on_a_pyramid_down_to_one_cell_with_linear_scales(
    name: str, num_anchors: int, sides: tuple[int, ...], scales: list[float]
) -> None:
    config = MODELS[name]
    assert config.level_sizes == sides
    listed = level_scales(len(sides), config.finest_scale, config.min_scale, config.max_scale)
    assert listed[:-1] == pytest.approx(scales)
    anchors = anchors_of(config)
    assert len(anchors) == num_anchors
    # What the code uses is what is listed: the side of the first anchor of every level.
    starts = [6 * sum(side**2 for side in sides[:level]) for level in range(len(sides))]
    widths = anchors[starts, 2] - anchors[starts, 0]
    expected = [scale * config.image_size for scale in scales]
    assert widths.tolist() == pytest.approx(expected, rel=1e-5)
