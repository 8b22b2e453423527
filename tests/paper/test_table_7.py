"""Number of anchors ("proposals" in table 7), and the pyramids that they come from."""

import pytest

from blitznet.detection.anchors import anchors_of, level_scales
from blitznet.model_info import (
    BLITZNET300,
    BLITZNET300_S8,
    BLITZNET512,
    BLITZNET512_S4,
    SSD300,
    SSD512,
    ModelConfig,
)


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (BLITZNET300, 45_390),
        (BLITZNET300_S8, 11_640),
        (BLITZNET512, 32_766),
        (BLITZNET512_S4, 131_070),
        (SSD300, 11_640),
        (SSD512, 32_766),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_number_of_anchors_is_that_of_table_7(config: ModelConfig, expected: int) -> None:
    assert len(anchors_of(config)) == expected


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (BLITZNET300, (75, 38, 19, 10, 5, 3, 1)),
        (BLITZNET300_S8, (38, 19, 10, 5, 3, 1)),
        (BLITZNET512, (64, 32, 16, 8, 4, 2, 1)),
        (BLITZNET512_S4, (128, 64, 32, 16, 8, 4, 2, 1)),
        (SSD300, (38, 19, 10, 5, 3, 1)),
        (SSD512, (64, 32, 16, 8, 4, 2, 1)),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_sides_of_the_pyramid_end_in_a_single_cell(
    config: ModelConfig, expected: tuple[int, ...]
) -> None:
    assert config.level_sizes == expected


@pytest.mark.parametrize(
    ("config", "expected"),
    [
        (BLITZNET300, [0.04, 0.10, 0.27, 0.44, 0.61, 0.78, 0.95]),
        (BLITZNET300_S8, [0.10, 0.20, 0.3875, 0.575, 0.7625, 0.95]),
        (BLITZNET512, [0.04, 0.10, 0.27, 0.44, 0.61, 0.78, 0.95]),
        (BLITZNET512_S4, [0.02, 0.08, 0.225, 0.37, 0.515, 0.66, 0.805, 0.95]),
        (SSD300, [0.10, 0.20, 0.3875, 0.575, 0.7625, 0.95]),
        (SSD512, [0.04, 0.10, 0.27, 0.44, 0.61, 0.78, 0.95]),
    ],
    ids=lambda value: getattr(value, "name", None),
)
def test_scales_are_one_for_the_finest_level_and_linear_for_the_others(
    config: ModelConfig, expected: list[float]
) -> None:
    scales = level_scales(
        len(config.level_sizes), config.finest_scale, config.min_scale, config.max_scale
    )
    assert scales[:-1] == pytest.approx(expected)
    # What the code uses is what is listed: the side of the first anchor of every level.
    cells = [6 * size**2 for size in config.level_sizes]
    starts = [sum(cells[:level]) for level in range(len(cells))]
    firsts = anchors_of(config)[starts]
    assert (firsts[:, 2] - firsts[:, 0]).tolist() == pytest.approx(
        [scale * config.image_size for scale in expected], rel=1e-5
    )
