"""Random weights that leave as much to do as trained ones."""

import numpy as np
import pytest
import torch
from torch import nn

from blitznet.bench import untrained
from blitznet.bench.untrained import (
    falling_to,
    settle_batch_norms,
    settle_network,
    shift_every_class,
    spread_logits,
    undecided_share,
)
from blitznet.model.blitznet import BlitzNet, normalize_images


@pytest.fixture
def pixels(rng: torch.Generator) -> torch.Tensor:
    return torch.randint(0, 256, (4, 64, 64, 3), dtype=torch.uint8, generator=rng)


def test_a_settled_network_has_the_wanted_boxes_and_cells(
    tiny_network: BlitzNet, pixels: torch.Tensor, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(untrained, "CANDIDATES", {0.01: 25.0})
    monkeypatch.setattr(untrained, "UNDECIDED_CELLS", 0.2)
    settle_network(tiny_network, pixels, 0.01)
    assert not any(module.training for module in tiny_network.modules())
    config = tiny_network.config
    with torch.inference_mode(), torch.autocast("cpu", torch.bfloat16):
        images = normalize_images(pixels.permute(0, 3, 1, 2), config.mean, config.std)
        raw = tiny_network(images)
    scores = raw.class_logits.float().softmax(dim=-1)[..., 1:]
    # bf16 rounds the logits once more, with the new biases.
    assert int((scores >= 0.01).sum()) / 4 == pytest.approx(25, rel=0.2)
    assert undecided_share(raw.seg_logits) == pytest.approx(0.2, abs=0.05)


def test_batch_norms_take_the_statistics_of_what_they_are_shown(rng: torch.Generator) -> None:
    norm = nn.BatchNorm2d(2)
    images = 5 + 3 * torch.randn(8, 2, 6, 6, generator=rng)
    settle_batch_norms(norm, lambda: norm(images))
    assert not norm.training
    assert norm.running_mean is not None
    torch.testing.assert_close(norm.running_mean, images.mean(dim=(0, 2, 3)))


@torch.no_grad()
def test_logits_are_spread_as_said_and_biases_are_gone(rng: torch.Generator) -> None:
    layer = nn.Linear(6, 3)
    inputs = torch.randn(50, 6, generator=rng)
    logits = spread_logits([layer], lambda: layer(inputs))
    assert logits.std() == pytest.approx(untrained.LOGIT_DEVIATION)
    assert not layer.bias.any()
    torch.testing.assert_close(logits, layer(inputs))


@torch.no_grad()
def test_a_sigmoid_without_background_is_shifted_as_a_whole(rng: torch.Generator) -> None:
    layer = nn.Linear(6, 20)
    inputs = torch.randn(500, 6, generator=rng)
    logits = spread_logits([layer], lambda: layer(inputs))
    shift_every_class(layer, logits, 2, 0.05)
    scores = layer(inputs).sigmoid()
    assert int((scores >= 0.05).sum()) / 2 == pytest.approx(untrained.CANDIDATES[0.05], abs=1)


def test_a_cell_is_undecided_if_one_corner_differs() -> None:
    seg_map = np.array([[0, 0, 0], [0, 0, 1]])
    logits = torch.nn.functional.one_hot(torch.from_numpy(seg_map)[None]).permute(0, 3, 1, 2)
    assert undecided_share(logits.float()) == 0.5


def test_a_falling_function_is_followed_down_to_a_value() -> None:
    assert falling_to(lambda x: -3 * x, 6.0) == pytest.approx(-2)
