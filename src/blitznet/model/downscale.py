"""The down-scale stream: coarser feature maps for larger objects (section 3.2)."""

from torch import Tensor, nn

from blitznet.model.layers import Bottleneck
from blitznet.model_info import ModelConfig


class DownscaleStep(nn.Module):
    """A residual bottleneck of stride 2, then one of stride 1: halves the size, rounded up."""

    def __init__(self, in_channels: int, out_channels: int):
        super().__init__()
        self.shrink = Bottleneck(in_channels, in_channels, out_channels, stride=2)
        self.refine = Bottleneck(out_channels, out_channels, out_channels)

    def forward(self, features: Tensor) -> Tensor:
        """(B, in, H, W) to (B, out, ceil(H / 2), ceil(W / 2))."""
        features = self.shrink(features, residual=features)
        out: Tensor = self.refine(features, residual=features)
        return out


class DownscaleStream(nn.Module):
    """Continues the backbone down to 1x1; the last step is a global average pool.

    Attributes:
        channels: number of channels of each skip that `forward` returns, finest first.
    """

    def __init__(self, config: ModelConfig, stage_channels: list[int]):
        super().__init__()
        width = config.downscale_width
        num_steps = len(config.level_sizes) - len(stage_channels) - 1
        inputs = [stage_channels[-1], *[width] * num_steps][:num_steps]
        self.steps = nn.ModuleList(DownscaleStep(channels, width) for channels in inputs)
        coarsest = width if num_steps else stage_channels[-1]
        self.channels = [*stage_channels, *[width] * num_steps, coarsest]

    def forward(self, stages: list[Tensor]) -> list[Tensor]:
        """The backbone's stages to all skips, finest first, down to 1x1."""
        skips = list(stages)
        for step in self.steps:
            skips.append(step(skips[-1]))
        skips.append(skips[-1].mean(dim=(2, 3), keepdim=True))
        return skips
