"""The EMA weights of a network, which are evaluated and saved."""

from itertools import chain

import torch
from torch import Tensor, nn
from torch.optim.swa_utils import AveragedModel, get_ema_multi_avg_fn


class EmaWeights(AveragedModel):
    """torch's `AveragedModel` with the same state, but without synchronising with the device.

    The base class reads its counter from the device in every step, and averages integer buffers.
    Move only `module` to a device, so that the counter stays on the CPU.

    Args:
        network: network whose weights and batch statistics are averaged.
        decay: weight of the old average in the new one.
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
