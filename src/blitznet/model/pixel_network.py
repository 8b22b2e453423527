"""A network with its normalisation."""

import torch
from torch import Tensor, nn

from blitznet.model.blitznet import BlitzNet
from blitznet.structures import RawPredictions


class PixelNetwork(nn.Module):
    """A network that includes its normalisation, so that only bytes are copied to the device."""

    mean: Tensor
    std: Tensor

    def __init__(self, network: BlitzNet):
        super().__init__()
        self.network = network
        device = network.anchors.device
        for name, values in (("mean", network.config.mean), ("std", network.config.std)):
            value = torch.tensor(values, device=device).view(3, 1, 1) * 255
            self.register_buffer(name, value, persistent=False)

    def forward(self, pixels: Tensor) -> RawPredictions:
        """pixels: (B, S, S, 3) uint8 RGB; permuted to (B, 3, S, S), it is already channels-last."""
        # Like `normalize_images`, but with constants that are already on the GPU.
        images = (pixels.permute(0, 3, 1, 2).float() - self.mean) / self.std
        raw: RawPredictions = self.network(images)
        return raw
