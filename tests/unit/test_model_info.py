from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from blitznet.detection.anchors import ANCHORS_PER_CELL, anchors_of
from blitznet.model_info import BLITZNET300, BLITZNET300_MOBILE, MODELS, ModelConfig


@given(st.integers(33, 2000), st.sampled_from([4, 8]))
def test_any_side_has_shrinking_levels_down_to_one_cell_and_six_anchors_a_cell(
    size: int, stride: int
) -> None:
    config = BLITZNET300.model_copy(update={"image_size": size, "finest_stride": stride})
    sizes = config.level_sizes
    assert sizes[0] == -(-size // stride)
    assert sizes[-1] == 1
    assert sizes[-2] in (2, 3)
    assert all(coarse == -(-fine // 2) for fine, coarse in pairwise(sizes[:-1]))
    if size < 200:
        assert len(anchors_of(config)) == ANCHORS_PER_CELL * sum(s * s for s in sizes)


def test_every_network_comes_back_equal_from_its_json() -> None:
    for config in MODELS.values():
        assert ModelConfig.model_validate_json(config.model_dump_json()) == config


def test_networks_are_listed_under_their_own_names() -> None:
    assert all(config.name == name for name, config in MODELS.items())


@pytest.mark.parametrize(
    ("field", "value", "message"),
    [
        ("image_size", 32, "greater than or equal to 33"),
        ("finest_stride", 16, "4 or 8"),
        ("num_classes", 1, "greater than or equal to 2"),
        ("num_classes", 256, "less than or equal to 255"),
        ("fusion", "resnet", "'hourglass', 'refine', 'resskip_without_residual' or 'resskip'"),
        ("min_scale", 0, "greater than or equal to 0.001"),
        ("mean", (0.5, 0.5), "mean"),
        ("widht", 512, "Extra inputs are not permitted"),
    ],
)
def test_impossible_value_is_refused(field: str, value: object, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        ModelConfig.model_validate(BLITZNET300.model_dump() | {field: value})


def test_network_without_any_task_is_refused() -> None:
    with pytest.raises(ValidationError, match="at least one task: detect or segment"):
        ModelConfig.model_validate(BLITZNET300.model_dump() | {"detect": False, "segment": False})


def test_configuration_cannot_be_changed_in_place() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        BLITZNET300_MOBILE.image_size = 512
