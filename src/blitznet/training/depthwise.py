"""Depthwise convolutions in float32, because PyTorch's bfloat16 ones are slow on CPUs.

There, the gradient of a depthwise convolution takes up to seven times as long in bfloat16 as in
float32. In float32, a training step of EfficientNet-Lite0 at 192 pixels takes half the time.
"""

import torch
from torch import Tensor, nn


class _InFloat32(nn.Module):
    """Mixed into a layer's class, computes the layer in float32 under autocast."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            y: Tensor = super().forward(x.float())
        return y.to(x.dtype)


def compute_depthwise_in_float32(network: nn.Module) -> None:
    """Let all depthwise convolutions compute in float32, except those of 3x3 and stride 1.

    These are not slow in bfloat16. Outputs keep the input's dtype; parameters and their names do
    not change.
    """
    for module in network.modules():
        if not isinstance(module, nn.Conv2d):
            continue
        is_depthwise = 1 < module.groups == module.in_channels
        if is_depthwise and (module.kernel_size, module.stride) != ((3, 3), (1, 1)):
            kind = type(module)
            # As in torch.nn.utils.parametrize: copies would share a method set on the instance.
            module.__class__ = type(f"{kind.__name__}InFloat32", (_InFloat32, kind), {})
