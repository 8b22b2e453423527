"""The up-scale stream: brings context back to fine resolution (section 3.3)."""

from torch import Tensor, nn

from blitznet.model.fusion import FUSION_BLOCKS
from blitznet.model_info import ModelConfig


class UpscaleStream(nn.Module):
    """One fusion block per step, from the 1x1 skip up to the finest one.

    Attributes:
        channels: number of channels of each feature that `forward` returns, finest first.
    """

    def __init__(self, config: ModelConfig, skip_channels: list[int]):
        super().__init__()
        assert config.fusion is not None
        block = FUSION_BLOCKS[config.fusion]
        width = config.upscale_width
        *finer, coarsest = skip_channels
        below = [coarsest, *[width] * (len(finer) - 1)]
        self.blocks = nn.ModuleList(
            block(below_channels, channels, width)
            for below_channels, channels in zip(below, reversed(finer), strict=True)
        )
        self.channels = [*[width] * len(finer), coarsest]

    def forward(self, skips: list[Tensor]) -> list[Tensor]:
        """Skips to as many features, finest first; the coarsest feature is the 1x1 skip itself."""
        *finer, coarsest = skips
        features = [coarsest]
        for block, skip in zip(self.blocks, reversed(finer), strict=True):
            features.append(block(features[-1], skip))
        return features[::-1]
