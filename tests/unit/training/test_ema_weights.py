"""EMA weights of timm equal those of torch's own class, which waits for the device."""

import torch
from timm.utils.model_ema import ModelEmaV3
from torch import nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


def make_network() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(3, 4, 3), nn.BatchNorm2d(4), nn.Conv2d(4, 2, 1))


def change(network: nn.Module, seed: int) -> None:
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter += torch.randn(parameter.shape, generator=generator)
    network(torch.randn(2, 3, 8, 8, generator=generator))  # moves the batch statistics


def test_the_means_are_those_of_torch_bit_for_bit() -> None:
    network = make_network()
    averager = get_ema_multi_avg_fn(0.9)  # type: ignore[no-untyped-call]
    expected = AveragedModel(network, multi_avg_fn=averager, use_buffers=True)
    averaged = ModelEmaV3(network, 0.9)
    for step in range(4):
        change(network, step)
        expected.update_parameters(network)
        averaged.update(network, step + 1)  # as in a training step
    found, wanted = averaged.module.state_dict(), expected.module.state_dict()
    assert found.keys() == wanted.keys()
    counters = {name for name in found if name.endswith("num_batches_tracked")}
    assert counters
    for name in found.keys() - counters:
        assert torch.equal(found[name], wanted[name]), name
    # The mean of a counter, cut to a whole number, means nothing.
    assert {int(found[name]) for name in counters} == {4}
