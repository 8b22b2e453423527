"""The two building blocks of all streams."""

from torch import Tensor, nn


def conv_bn(
    in_channels: int, out_channels: int, kernel_size: int, stride: int = 1
) -> list[nn.Module]:
    """A bias-free convolution, which divides the size by `stride` (rounded up), and batch norm."""
    padding = kernel_size // 2
    conv = nn.Conv2d(in_channels, out_channels, kernel_size, stride, padding, bias=False)
    return [conv, nn.BatchNorm2d(out_channels)]


class Bottleneck(nn.Module):
    """1x1 -> 3x3 -> 1x1 on `features`, summed with `residual`, ReLU after the sum.

    The bottleneck is a quarter of the output width, as in ResNet.
    """

    def __init__(
        self, in_channels: int, residual_channels: int, out_channels: int, stride: int = 1
    ):
        super().__init__()
        width = out_channels // 4
        self.transform = nn.Sequential(
            *conv_bn(in_channels, width, 1),
            nn.ReLU(inplace=True),
            *conv_bn(width, width, 3, stride),
            nn.ReLU(inplace=True),
            *conv_bn(width, out_channels, 1),
        )
        self.project = (
            nn.Sequential(*conv_bn(residual_channels, out_channels, 1, stride))
            if residual_channels != out_channels or stride != 1
            else nn.Identity()
        )
        self.activation = nn.ReLU(inplace=True)

    def forward(self, features: Tensor, residual: Tensor) -> Tensor:
        """(B, in, H, W) and (B, residual, H, W) to (B, out, ceil(H / stride), ceil(W / stride))."""
        out: Tensor = self.activation(self.transform(features) + self.project(residual))
        return out
