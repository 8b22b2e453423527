"""Depthwise convolutions in float32, where PyTorch is slow at them in bfloat16.

On CPUs the gradient of a depthwise convolution in bfloat16 takes up to seven times as long as in
float32. A training step of EfficientNet-Lite0 at 192 pixels takes half the time with this.
"""

import torch
from torch import Tensor, nn


class _InFloat32(nn.Module):
    """Placed before a layer's own class: its inputs and arithmetic are float32 under autocast."""

    def forward(self, x: Tensor) -> Tensor:
        with torch.autocast(x.device.type, enabled=False):
            y: Tensor = super().forward(x.float())
        return y.to(x.dtype)


def compute_depthwise_in_float32(network: nn.Module) -> None:
    """Let depthwise convolutions that are slow in bfloat16 compute in float32.

    Those of 3 x 3 and stride 1 are not slow. Outputs keep the dtype of the input; parameters and
    their names stay the same.
    """
    for module in network.modules():
        if not isinstance(module, nn.Conv2d):
            continue
        is_depthwise = 1 < module.groups == module.in_channels
        if is_depthwise and (module.kernel_size, module.stride) != ((3, 3), (1, 1)):
            kind = type(module)
            # As torch.nn.utils.parametrize does: an instance attribute would be shared by copies.
            module.__class__ = type(f"{kind.__name__}InFloat32", (_InFloat32, kind), {})
