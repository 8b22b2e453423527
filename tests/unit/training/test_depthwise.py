import copy

import pytest
import torch
from timm.layers import Conv2dSame
from torch import Tensor, nn

from blitznet.training.depthwise import compute_depthwise_in_float32


def depthwise(kernel: int = 5, stride: int = 1) -> nn.Conv2d:
    return nn.Conv2d(8, 8, kernel, stride, groups=8)


def output(layer: nn.Module, x: Tensor) -> Tensor:
    with torch.autocast("cpu", torch.bfloat16):
        result: Tensor = layer(x)
    return result


@pytest.mark.parametrize(
    "layer",
    [depthwise(), depthwise(3, stride=2), Conv2dSame(8, 8, 5, 2, groups=8)],
    ids=["5x5", "stride 2", "timm's"],
)
def test_a_slow_depthwise_convolution_computes_in_float32(layer: nn.Conv2d) -> None:
    x = torch.randn(2, 8, 12, 12).bfloat16()
    expected = layer(x.float())
    names = list(layer.state_dict())

    compute_depthwise_in_float32(layer)
    result = output(layer, x)

    assert result.dtype == torch.bfloat16
    assert torch.equal(result, expected.bfloat16())
    assert list(layer.state_dict()) == names


def test_its_gradient_is_that_of_float32() -> None:
    layer, x = depthwise(), torch.randn(2, 8, 12, 12).bfloat16()
    twin = copy.deepcopy(layer)
    twin(x.float()).bfloat16().sum().backward()

    compute_depthwise_in_float32(layer)
    output(layer, x).sum().backward()

    assert layer.weight.grad is not None
    assert twin.weight.grad is not None
    assert torch.equal(layer.weight.grad, twin.weight.grad)


@pytest.mark.parametrize(
    "layer", [depthwise(3), nn.Conv2d(8, 8, 5), nn.Conv2d(1, 1, 5)], ids=["3x3", "dense", "one"]
)
def test_other_convolutions_stay_in_bfloat16(layer: nn.Conv2d) -> None:
    before = type(layer)
    compute_depthwise_in_float32(layer)
    assert type(layer) is before


def test_a_copy_has_weights_of_its_own() -> None:
    layer = depthwise()
    compute_depthwise_in_float32(layer)
    twin = copy.deepcopy(layer)
    with torch.no_grad():
        twin.weight.zero_()
    x = torch.ones(1, 8, 5, 5)
    assert layer.bias is not None
    assert torch.equal(twin(x).flatten(), layer.bias)
    assert not torch.equal(layer(x).flatten(), layer.bias)
