"""The initial network of a run."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import NamedTuple

import torch
from torch import Tensor

from blitznet.detection.anchors import ANCHORS_PER_CELL
from blitznet.errors import RecipeError, shown
from blitznet.model.blitznet import BlitzNet
from blitznet.model.checkpoint import load_checkpoint
from blitznet.model.imagenet_weights import imagenet_normalization
from blitznet.model_files import CheckpointInfo, find_checkpoint, read_info
from blitznet.training.recipe import Recipe, change_recipe

IMAGENET = "imagenet"  # value of a recipe's `backbone_weights`

# Fields of `ModelConfig` that depend on the weights, not on the architecture.
_OF_THE_WEIGHTS = ("stride_in_1x1", "pad_same", "mean", "std")

# Fields that determine the features of the heads; if they differ, heads cannot be reused.
_OF_THE_FEATURES = (
    "backbone", "finest_stride", "fusion", "downscale_width", "upscale_width", "seg_width",
)  # fmt: skip

# Modules with one layer per level, numbered from the finest.
_ONE_PER_LEVEL = (
    "multibox_head.classify", "multibox_head.regress", "segmentation_head.squeeze",
)  # fmt: skip


def fit_to_start(recipe: Recipe) -> Recipe:
    """The recipe with the padding, strides and normalisation of the weights that it starts from.

    ImageNet weights only set the normalisation, unless the recipe gives its own.

    Raises:
        InputError: if `start_from` cannot be read, or `backbone_weights` does not exist.
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
        _weights_file(recipe)
        changes = {}
    return change_recipe(recipe, model=changes) if changes else recipe


def starts_from_imagenet(recipe: Recipe) -> bool:
    """Whether the backbone starts from ImageNet weights that are installed or downloaded."""
    return recipe.backbone_weights == IMAGENET and recipe.start_from is None


def _weights_file(recipe: Recipe) -> Path | None:
    """The file that the backbone starts from; None if it starts otherwise.

    Raises:
        RecipeError: if it does not exist.
    """
    if recipe.start_from is not None or recipe.backbone_weights in (None, IMAGENET):
        return None
    path = Path(recipe.backbone_weights)
    if not path.is_file():
        raise RecipeError(f"backbone_weights: {path} does not exist")
    return path


class KnownClasses(NamedTuple):
    """Names of the classes that each head knows, or that labels show, without background."""

    boxes: list[str]
    masks: list[str]


def known_to_start(recipe: Recipe, names: Sequence[str]) -> KnownClasses:
    """The classes that each head takes over from the network that the recipe starts from.

    Args:
        recipe: recipe fitted to the data.
        names: class names of the data, background first.
    """
    if recipe.start_from is None:
        return KnownClasses([], [])
    info, model = read_info(find_checkpoint(recipe.start_from)), recipe.model
    fits = all(getattr(info.model, name) == getattr(model, name) for name in _OF_THE_FEATURES)

    def known(supervised: list[str] | None, is_there: bool) -> list[str]:
        theirs = set(info.names[1:] if supervised is None else supervised)
        return [name for name in names[1:] if name in theirs] if is_there and fits else []

    return KnownClasses(
        known(info.supervised_boxes, model.detect and info.model.detect),
        known(info.supervised_masks, model.segment and info.model.segment),
    )


def keep_dropped(recipe: Recipe, names: Sequence[str]) -> Recipe:
    """The recipe with an extra background row for every class that only the starting network has.

    When a head takes over classes, it keeps the rows of the dropped ones as background: without a
    class "cat", the row that recognises cats says "background". So scores do not change.

    Args:
        recipe: recipe fitted to the data.
        names: class names of the data, background first.
    """
    if recipe.start_from is None or not any(known_to_start(recipe, names)):
        return recipe
    info = read_info(find_checkpoint(recipe.start_from))
    rows = info.model.background_rows + len(set(info.names) - set(names))
    if rows == recipe.model.background_rows:
        return recipe
    return change_recipe(recipe, model={"background_rows": rows})


def build_network(recipe: Recipe, names: Sequence[str]) -> BlitzNet:
    """Build the recipe's network with its starting weights, in training mode and partly frozen.

    Args:
        recipe: recipe fitted to the data.
        names: class names of the data, background first.

    Raises:
        InputError: if the starting weights are not available or do not fit, the backbone cannot run
            at the image size, or there is no module to freeze.
    """
    network = BlitzNet(recipe.model, pretrained=starts_from_imagenet(recipe))
    weights = _weights_file(recipe)
    network.backbone.require_runnable(recipe.model.image_size)
    if recipe.start_from is not None:
        _take_over(network, recipe, names)
    elif weights is not None:
        network.backbone.load_imagenet(weights)
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    network.train()
    network.backbone.freeze(recipe.freeze_stride)
    _freeze(network, recipe.freeze)
    return network


def _freeze(network: BlitzNet, names: Sequence[str]) -> None:
    """Keep the weights and batch statistics of modules; call it after `train()`."""
    for name in names:
        try:
            network.get_submodule(name).requires_grad_(False).eval()
        except AttributeError:
            known = ", ".join(child for child, _ in network.named_children())
            raise RecipeError(
                f"freeze: this network has no module {shown(name)}; it has {known}, and their parts"
            ) from None
    if not any(parameter.requires_grad for parameter in network.parameters()):
        raise RecipeError("freeze: nothing is left to train")


def _take_over(network: BlitzNet, recipe: Recipe, names: Sequence[str]) -> None:
    """Load the weights of another network where name and shape agree; of heads, known classes."""
    assert recipe.start_from is not None
    other, info = load_checkpoint(find_checkpoint(recipe.start_from))
    own, theirs = network.state_dict(), other.state_dict()
    if network.config.finest_stride == other.config.finest_stride:
        levels = len(other.config.level_sizes), len(network.config.level_sizes)
        theirs = align_levels(theirs, *levels)
    known = known_to_start(recipe, names)
    fitting = {}
    for name, tensor in own.items():
        if ".classify." in name and name in theirs:
            anchors, classes = (
                (ANCHORS_PER_CELL, known.boxes) if "multibox" in name else (1, known.masks)
            )
            if classes and tensor.shape[1:] == theirs[name].shape[1:]:
                mine, given = _shared_rows(classes, names, recipe.model.background_rows, info)
                rows = tensor.clone().unflatten(0, (anchors, -1))
                rows[:, mine] = theirs[name].unflatten(0, (anchors, -1))[:, given]
                fitting[name] = rows.flatten(0, 1)
        elif name in theirs and tensor.shape == theirs[name].shape:
            fitting[name] = theirs[name]
    shared = [name for name in own if name in theirs and ".classify." not in name]
    if sum(name in fitting for name in shared) * 2 < len(own):
        raise RecipeError(
            f"start_from: {recipe.start_from} is a {other.config.name} on {other.config.backbone}, "
            f"of which {network.config.name} on {network.config.backbone} can take over too little"
        )
    network.load_state_dict(fitting, strict=False)


def align_levels(state: Mapping[str, Tensor], levels: int, wanted: int) -> dict[str, Tensor]:
    """Rename a network's tensors for another number of levels, which its image size determines.

    Levels are aligned at the finest one. Additional coarse levels copy the next finer one; the 1x1
    level remains the last.

    Args:
        state: tensors of the network by name.
        levels: its number of levels.
        wanted: the other number of levels, with the same finest stride.
    """
    if wanted == levels:
        return dict(state)
    sources = [*(min(level, levels - 2) for level in range(wanted - 1)), levels - 1]
    steps = len({name.split(".")[2] for name in state if name.startswith("downscale.steps.")})
    origins = {  # of every new number, the old one
        "downscale.steps": [min(step, steps - 1) for step in range(steps + wanted - levels)],
        "upscale.blocks": [levels - 2 - source for source in sources[-2::-1]],  # coarsest first
        **dict.fromkeys(_ONE_PER_LEVEL, sources),
    }
    numbered = tuple(f"{prefix}." for prefix in origins)
    aligned = {name: state[name] for name in state if not name.startswith(numbered)}
    for prefix, olds in origins.items():
        for new, old in enumerate(olds):
            start = f"{prefix}.{old}."
            names = [name for name in state if name.startswith(start)]
            aligned |= {f"{prefix}.{new}.{name.removeprefix(start)}": state[name] for name in names}
    joint = "segmentation_head.classify.weight"
    if joint in state:  # reads all levels; copies share the weights of their source
        by_level = state[joint].chunk(levels, dim=1)
        shares = [by_level[source] / sources.count(source) for source in sources]
        aligned[joint] = torch.cat(shares, dim=1)
    return aligned


def _shared_rows(
    classes: Sequence[str], names: Sequence[str], background_rows: int, info: CheckpointInfo
) -> tuple[list[int], list[int]]:
    """Own and other rows: those of background including dropped classes, then of `classes`."""
    first, other_first = background_rows - 1, info.model.background_rows - 1
    dropped = [i + other_first for i, name in enumerate(info.names) if name not in names]
    background = [*range(other_first + 1), *dropped][:background_rows]
    mine = [*range(len(background)), *(first + names.index(name) for name in classes)]
    return mine, [*background, *(other_first + info.names.index(name) for name in classes)]
