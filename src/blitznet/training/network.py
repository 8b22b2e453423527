"""The network that a run begins with."""

from pathlib import Path

import torch
from timm.layers.norm_act import convert_sync_batchnorm

from blitznet.errors import RecipeError
from blitznet.model.blitznet import BlitzNet
from blitznet.model.checkpoint import load_checkpoint
from blitznet.model.imagenet_weights import imagenet_normalization
from blitznet.model_files import find_checkpoint, read_info
from blitznet.training.recipe import Recipe

IMAGENET = "imagenet"  # as `backbone_weights` of a recipe

# Fields of `ModelConfig` that belong to the weights and not to the shape of the network.
_OF_THE_WEIGHTS = ("stride_in_1x1", "pad_same", "mean", "std")


def fit_to_start(recipe: Recipe) -> Recipe:
    """The recipe with the padding, strides and normalisation of the weights that it starts from.

    Of ImageNet weights the normalisation alone, and only what the recipe does not say itself.

    Raises:
        InputError: if `start_from` names nothing that can be read.
    """
    model = recipe.model
    if recipe.start_from is not None:
        start = read_info(find_checkpoint(recipe.start_from)).model
        fits = start.backbone == model.backbone
        changes = {name: getattr(start, name) for name in _OF_THE_WEIGHTS} if fits else {}
    elif starts_from_imagenet(recipe):
        normalization = imagenet_normalization(model.backbone)
        changes = {
            name: normalization[name] for name in normalization.keys() - model.model_fields_set
        }
    else:
        changes = {}
    return recipe.model_copy(update={"model": model.model_copy(update=changes)})


def starts_from_imagenet(recipe: Recipe) -> bool:
    """Whether the backbone starts from ImageNet weights that are installed or downloaded."""
    return recipe.backbone_weights == IMAGENET and recipe.start_from is None


def build_network(recipe: Recipe) -> BlitzNet:
    """The recipe's network with its starting weights, in training mode, its frozen part fixed.

    Raises:
        InputError: if the starting weights cannot be had or do not fit.
    """
    network = BlitzNet(recipe.model, pretrained=starts_from_imagenet(recipe))
    if recipe.start_from is not None:
        _take_over(network, recipe.start_from)
    elif recipe.backbone_weights not in (None, IMAGENET):
        path = Path(recipe.backbone_weights)
        if not path.is_file():
            raise RecipeError(f"backbone_weights: {path} does not exist")
        network.backbone.load_imagenet(path)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    network.train()
    network.backbone.freeze(recipe.freeze_stride)
    return network


def _take_over(network: BlitzNet, name_or_path: str) -> None:
    """Weights of another network, wherever name and shape agree."""
    other, _ = load_checkpoint(find_checkpoint(name_or_path))
    own = network.state_dict()
    fitting = {
        name: tensor
        for name, tensor in other.state_dict().items()
        if name in own and own[name].shape == tensor.shape
    }
    if len(fitting) * 2 < len(own):
        raise RecipeError(
            f"start_from: {name_or_path} is a {other.config.name} on {other.config.backbone}, of "
            f"which {network.config.name} on {network.config.backbone} can take over too little"
        )
    network.load_state_dict(fitting, strict=False)


def require_synchronizable(device_type: str) -> None:
    """Raise RecipeError unless batch norms can be synchronised on such devices."""
    if device_type not in ("cuda", "gpu", "auto"):
        raise RecipeError(
            "sync_batchnorm: PyTorch synchronises batch norms on CUDA devices alone, not on "
            f"{device_type}; use --set sync_batchnorm=false"
        )


def synchronize_batch_norms(network: BlitzNet, device: torch.device) -> None:
    """Let all batch norms that learn see the images of all processes; parameters stay the same.

    Raises:
        RecipeError: if the device cannot.
    """
    require_synchronizable(device.type)
    # Timm's, as torch's would drop the activation in timm's layers.
    convert_sync_batchnorm(network)  # type: ignore[no-untyped-call]
