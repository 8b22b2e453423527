from typing import get_args

import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional as F

from blitznet.model.fusion import FUSION_BLOCKS, HourglassFusion, ResSkip, ResSkipWithoutResidual
from blitznet.model_info import FusionName

BELOW, SKIP, WIDTH = 8, 12, 16


@pytest.fixture
def below(rng: torch.Generator) -> Tensor:
    return torch.randn(2, BELOW, 3, 3, generator=rng)


@pytest.fixture
def skip(rng: torch.Generator) -> Tensor:
    return torch.randn(2, SKIP, 5, 5, generator=rng)


def upsampled(features: Tensor, size: int) -> Tensor:
    return F.interpolate(features, size=(size, size), mode="bilinear", align_corners=False)


def silence_last_batch_norm(block: nn.Module) -> None:
    """Make the last convolution branch output zeros."""
    norm = [layer for layer in block.modules() if isinstance(layer, nn.BatchNorm2d)][-1]
    nn.init.zeros_(norm.weight)
    nn.init.zeros_(norm.bias)


def test_the_blocks_are_the_four_of_table_8() -> None:
    assert list(FUSION_BLOCKS) == list(get_args(FusionName))


@pytest.mark.parametrize("name", FUSION_BLOCKS)
@pytest.mark.parametrize("below_channels", [BELOW, WIDTH])
def test_block_gives_its_width_at_the_size_of_the_skip_and_uses_both_inputs(
    name: FusionName, below_channels: int, skip: Tensor, rng: torch.Generator
) -> None:
    torch.manual_seed(0)
    block = FUSION_BLOCKS[name](below_channels, SKIP, WIDTH)
    below = torch.randn(2, below_channels, 3, 3, generator=rng).requires_grad_()
    skip.requires_grad_()
    before = below.clone(), skip.clone()
    fused = block(below, skip)
    assert fused.shape == (2, WIDTH, 5, 5)
    assert torch.equal(below, before[0])  # nothing is done in place
    assert torch.equal(skip, before[1])
    fused.square().sum().backward()
    assert (below.grad.flatten(2) != 0).any(dim=2).all()
    assert (skip.grad.flatten(2) != 0).any(dim=2).all()
    assert all(parameter.grad.any() for parameter in block.parameters())


def test_resskip_equals_figure_3_step_by_step(below: Tensor, skip: Tensor) -> None:
    torch.manual_seed(0)
    block = ResSkip(BELOW, SKIP, WIDTH).eval()
    for layer in block.modules():
        if isinstance(layer, nn.BatchNorm2d):
            for tensor in (layer.weight, layer.bias, layer.running_mean, layer.running_var):
                nn.init.uniform_(tensor, 0.5, 1.5)
    layers = [m for m in block.modules() if isinstance(m, nn.Conv2d | nn.BatchNorm2d)]
    reduce, bn1, convolve, bn2, expand, bn3, project, bn4 = layers
    up = upsampled(below, 5)
    joined = torch.cat((up, skip), dim=1)
    inner = F.relu(bn1(F.conv2d(joined, reduce.weight)))
    inner = F.relu(bn2(F.conv2d(inner, convolve.weight, padding=1)))
    expected = F.relu(bn3(F.conv2d(inner, expand.weight)) + bn4(F.conv2d(up, project.weight)))
    torch.testing.assert_close(block(below, skip), expected)
    assert [layer.kernel_size[0] for layer in (reduce, convolve, expand, project)] == [1, 3, 1, 1]
    assert [reduce.out_channels, convolve.out_channels] == [WIDTH // 4] * 2


def test_resskip_of_equal_widths_passes_its_input_through_when_its_branch_is_silent(
    skip: Tensor, rng: torch.Generator
) -> None:
    below = torch.randn(2, WIDTH, 3, 3, generator=rng)
    block = ResSkip(WIDTH, SKIP, WIDTH).eval()
    silence_last_batch_norm(block)
    assert torch.equal(block(below, skip), F.relu(upsampled(below, 5)))


def test_resskip_without_residual_passes_nothing_through_when_its_branch_is_silent(
    below: Tensor, skip: Tensor
) -> None:
    block = ResSkipWithoutResidual(BELOW, SKIP, WIDTH).eval()
    silence_last_batch_norm(block)
    assert not block(below, skip).any()


def test_hourglass_of_equal_widths_adds_a_residual_block_on_the_skip_to_its_input(
    skip: Tensor, rng: torch.Generator
) -> None:
    torch.manual_seed(0)
    below = torch.randn(2, WIDTH, 3, 3, generator=rng)
    block = HourglassFusion(WIDTH, SKIP, WIDTH).eval()
    expected = block.lateral(skip, residual=skip) + upsampled(below, 5)
    assert torch.equal(block(below, skip), expected)
