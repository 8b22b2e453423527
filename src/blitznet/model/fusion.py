"""Fusion blocks: ResSkip (figure 3) and its alternatives in table 8.

Each block takes the coarser feature (B, below, h, w) and the skip (B, skip, H, W) and returns
(B, width, H, W). All have ResSkip's width and bottleneck, so that table 8 compares topologies
only (D6).
"""

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from blitznet.model.layers import Bottleneck, conv_bn
from blitznet.model_info import FusionName


def upsample(features: Tensor, like: Tensor) -> Tensor:
    """Resize bilinearly to the height and width of `like`."""
    return F.interpolate(features, size=like.shape[-2:], mode="bilinear", align_corners=False)


class ResSkip(nn.Module):
    """Figure 3: up-sample, concatenate the skip, 1x1 -> 3x3 -> 1x1, plus the up-sampled input."""

    def __init__(self, below_channels: int, skip_channels: int, width: int):
        super().__init__()
        self.block = Bottleneck(below_channels + skip_channels, below_channels, width)

    def forward(self, below: Tensor, skip: Tensor) -> Tensor:
        """See the module."""
        upsampled = upsample(below, like=skip)
        out: Tensor = self.block(torch.cat((upsampled, skip), dim=1), residual=upsampled)
        return out


class ResSkipWithoutResidual(nn.Module):
    """Table 8, "ResSkip (no res)": the same block without its residual connection."""

    def __init__(self, below_channels: int, skip_channels: int, width: int):
        super().__init__()
        block = Bottleneck(below_channels + skip_channels, width, width)
        self.block = nn.Sequential(*block.transform, nn.ReLU(inplace=True))

    def forward(self, below: Tensor, skip: Tensor) -> Tensor:
        """See the module."""
        out: Tensor = self.block(torch.cat((upsample(below, like=skip), skip), dim=1))
        return out


class HourglassFusion(nn.Module):
    """Newell et al. 2016: a residual block on the skip, summed with the up-sampled input."""

    def __init__(self, below_channels: int, skip_channels: int, width: int):
        super().__init__()
        self.lateral = Bottleneck(skip_channels, skip_channels, width)
        self.project = (
            nn.Sequential(*conv_bn(below_channels, width, 1))
            if below_channels != width
            else nn.Identity()
        )

    def forward(self, below: Tensor, skip: Tensor) -> Tensor:
        """See the module."""
        out: Tensor = self.lateral(skip, residual=skip) + self.project(upsample(below, like=skip))
        return out


class RefineFusion(nn.Module):
    """Pinheiro et al. 2016 (SharpMask): 3x3 on each input, sum, ReLU; the next block up-samples.

    SharpMask convolves the skip and the features from below separately, at equal narrow widths.
    """

    def __init__(self, below_channels: int, skip_channels: int, width: int):
        super().__init__()
        self.vertical, self.horizontal = (
            nn.Sequential(
                *conv_bn(channels, width // 4, 1),
                nn.ReLU(inplace=True),
                *conv_bn(width // 4, width, 3),
            )
            for channels in (below_channels, skip_channels)
        )
        self.activation = nn.ReLU(inplace=True)

    def forward(self, below: Tensor, skip: Tensor) -> Tensor:
        """See the module."""
        out: Tensor = self.activation(
            self.horizontal(skip) + self.vertical(upsample(below, like=skip))
        )
        return out


FUSION_BLOCKS: dict[FusionName, type[nn.Module]] = {  # table 8, top to bottom
    "hourglass": HourglassFusion,
    "refine": RefineFusion,
    "resskip_without_residual": ResSkipWithoutResidual,
    "resskip": ResSkip,
}
