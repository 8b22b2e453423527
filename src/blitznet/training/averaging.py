"""The exponential moving average (EMA) of a network's weights; it is evaluated and saved."""

from itertools import chain

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


class AveragedWeights(AveragedModel):
    """As torch's `AveragedModel`, with which it shares the state, but without its waiting.

    That class reads its own counter on the device in every step, and takes the mean of counters.
    Move `module` alone to a device, so that the counter stays here.

    Args:
        network: whose weights and batch statistics are averaged.
        decay: share of the old mean in the new one.
    """

    def __init__(self, network: nn.Module, decay: float):
        average = get_ema_multi_avg_fn(decay)  # type: ignore[no-untyped-call]
        super().__init__(network, multi_avg_fn=average, use_buffers=True)

    @torch.no_grad()
    def update_parameters(self, model: nn.Module) -> None:
        """Update the average with the weights after a step; the first call copies them."""
        own, current = _tensors(self.module), _tensors(model)
        is_mean = [tensor.is_floating_point() and int(self.n_averaged) > 0 for tensor in own]
        means = [i for i, mean in enumerate(is_mean) if mean]
        copies = [i for i, mean in enumerate(is_mean) if not mean]
        if means:
            assert self.multi_avg_fn is not None
            self.multi_avg_fn([own[i] for i in means], [current[i] for i in means], 0)
        if copies:
            torch._foreach_copy_([own[i] for i in copies], [current[i] for i in copies])
        self.n_averaged += 1


def _tensors(module: nn.Module) -> list[Tensor]:
    return [tensor.detach() for tensor in chain(module.parameters(), module.buffers())]
