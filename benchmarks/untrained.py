"""Networks with random weights that need as much post-processing as a trained one.

The speed of a network does not depend on its weights, but post-processing does: on the number of
boxes above the minimum score, and on the number of map cells whose neighbours differ in class.
Random weights give thousands of boxes or none, and noisy maps. So the last convolutions are scaled
and shifted until both numbers are those of the bundled network on photos.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from blitznet.classes import VOC_CLASSES
from blitznet.image import resize_to_input
from blitznet.model.blitznet import BlitzNet, build, normalize_images
from blitznet.model.checkpoint import load_checkpoint, save_checkpoint
from blitznet.model_files import CheckpointInfo, find_checkpoint
from blitznet.structures import RawPredictions

# Approximate means of the bundled network over images of the VOC subset's val split.
CANDIDATES = {0.01: 800.0, 0.05: 100.0}  # boxes per image by minimum score, before NMS
UNDECIDED_CELLS = 0.085  # share of 2x2 cells of the map whose corners differ
LOGIT_DEVIATION = 8.0  # standard deviation of class logits

SETTLING_IMAGES = 4
_WIDEST_SHIFT = 200.0
_HALVINGS = 40


def write_untrained(name: str, folder: Path, images: Sequence[Image.Image], score: float) -> Path:
    """Write a checkpoint with random weights that needs as much post-processing as a trained one.

    Args:
        name: name of the network.
        folder: folder of the checkpoint.
        images: decoded images, to adjust the weights.
        score: minimum score of a box.
    """
    torch.manual_seed(0)
    network = build(name, classes=len(VOC_CLASSES))
    size = network.config.image_size
    pixels = np.stack([resize_to_input(image, size) for image in images[:SETTLING_IMAGES]])
    settle_network(network, torch.from_numpy(pixels), score)
    path = folder / f"{name}.safetensors"
    save_checkpoint(path, network, CheckpointInfo(model=network.config, names=VOC_CLASSES))
    return path


def write_single_tasks(name_or_path: str, folder: Path) -> list[str]:
    """Write two checkpoints of a network, without its segmentation head and without detection."""
    network, info = load_checkpoint(find_checkpoint(name_or_path))
    paths = []
    for missing in ("segment", "detect"):
        config = info.model.model_copy(update={missing: False})
        single, weights = BlitzNet(config), network.state_dict()
        single.load_state_dict({key: weights[key] for key in single.state_dict()})
        path = folder / f"{Path(name_or_path).stem}-without-{missing}.safetensors"
        save_checkpoint(path, single, CheckpointInfo(model=config, names=info.names))
        paths.append(str(path))
    return paths


def usual_candidates(score: float) -> float:
    """Boxes per image of a trained network that reach a minimum score."""
    nearest = min(CANDIDATES, key=lambda known: abs(known - score))
    return CANDIDATES[nearest]


@torch.no_grad()
def settle_network(network: BlitzNet, pixels: Tensor, score: float) -> None:
    """Give a network with random weights the batch statistics and biases of a trained one.

    Args:
        network: changed in place, left in evaluation mode.
        pixels: (B, S, S, 3) uint8 RGB, at least two images.
        score: minimum score that `usual_candidates` boxes per image should reach.
    """
    config = network.config
    images = normalize_images(pixels.permute(0, 3, 1, 2), config.mean, config.std)

    def forward() -> RawPredictions:
        with torch.autocast("cpu", torch.bfloat16):
            raw: RawPredictions = network(images)
        return raw

    settle_batch_norms(network, forward)
    if network.multibox_head is not None:
        classify = network.multibox_head.classify
        logits = spread_logits(classify, lambda: forward().class_logits)
        shift_background(classify, logits, len(pixels), score)
    if network.segmentation_head is not None:
        last = network.segmentation_head.classify
        shift_map_background(last, spread_logits([last], lambda: forward().seg_logits))


def settle_batch_norms(network: nn.Module, forward: Callable[[], object]) -> None:
    """Set batch norms to the statistics of `forward`; leaves the network in evaluation mode."""
    network.eval()
    norms = [module for module in network.modules() if isinstance(module, nn.BatchNorm2d)]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # plain mean over all calls
        norm.train()
    forward()
    network.eval()


def spread_logits(
    convolutions: Iterable[nn.Module], forward: Callable[[], Tensor | None]
) -> Tensor:
    """Scale weights so that logits have a deviation of LOGIT_DEVIATION, and set biases to 0.

    Otherwise, logits are so close together that rounding moves all of them across a threshold.

    Args:
        convolutions: the last layers, convolutions or linear.
        forward: returns their logits.

    Returns:
        The logits with the new weights.
    """
    parts = [_weight_and_bias(convolution) for convolution in convolutions]
    for _, bias in parts:
        bias.zero_()
    logits = forward()
    assert logits is not None
    scale = LOGIT_DEVIATION / max(float(logits.float().std()), 1e-6)
    for weight, _ in parts:
        weight.mul_(scale)
    return logits.float() * scale


def shift_background(
    convolutions: Iterable[nn.Module], logits: Tensor, num_images: int, score: float
) -> None:
    """Shift the background's biases until `usual_candidates` boxes per image reach a score.

    Args:
        convolutions: the layers that compute the logits.
        logits: (..., C) of all images, background first, for a softmax.
        num_images: number of these images.
        score: minimum score.
    """

    def candidates(shift: float) -> float:
        scores = _with_background(logits, -1, shift).softmax(dim=-1)[..., 1:]
        return int((scores >= score).sum()) / num_images

    shift = falling_to(candidates, usual_candidates(score))
    for convolution in convolutions:
        _, bias = _weight_and_bias(convolution)
        bias.view(-1, logits.shape[-1])[:, 0] += shift


def shift_every_class(
    convolution: nn.Module, logits: Tensor, num_images: int, score: float
) -> None:
    """Same as `shift_background`, for sigmoid logits, which have no background."""

    def candidates(shift: float) -> float:
        return int(((logits - shift).sigmoid() >= score).sum()) / num_images

    _weight_and_bias(convolution)[1].sub_(falling_to(candidates, usual_candidates(score)))


def shift_map_background(convolution: nn.Module, seg_logits: Tensor) -> None:
    """Shift the background's bias until the share of undecided cells is UNDECIDED_CELLS.

    Args:
        convolution: the layer that computes the logits.
        seg_logits: (B, C, h, w).
    """
    # Far below this, background wins nowhere and no longer changes the share.
    least = float((seg_logits[:, 1:].amax(dim=1) - seg_logits[:, 0]).median())
    shift = falling_to(
        lambda shift: undecided_share(_with_background(seg_logits, 1, shift)),
        UNDECIDED_CELLS,
        least,
    )
    _weight_and_bias(convolution)[1][0] += shift


def undecided_share(seg_logits: Tensor) -> float:
    """Share of 2x2 cells whose corners differ in their best class.

    Args:
        seg_logits: (B, C, h, w).
    """
    best = seg_logits.argmax(dim=1)
    corner = best[:, 1:, 1:]
    agree = (
        (corner == best[:, :-1, 1:]) & (corner == best[:, 1:, :-1]) & (corner == best[:, :-1, :-1])
    )
    return 1 - float(agree.float().mean())


def _weight_and_bias(convolution: nn.Module) -> tuple[Tensor, Tensor]:
    assert isinstance(convolution, nn.Conv2d | nn.Linear)
    assert convolution.bias is not None
    return convolution.weight, convolution.bias


def _with_background(logits: Tensor, dim: int, shift: float) -> Tensor:
    shifted = logits.clone()
    shifted.select(dim, 0).add_(shift)
    return shifted


def falling_to(
    function: Callable[[float], float], wanted: float, least: float = -_WIDEST_SHIFT
) -> float:
    """Find by bisection where a decreasing function reaches a value."""
    most = _WIDEST_SHIFT
    for _ in range(_HALVINGS):
        middle = (least + most) / 2
        if function(middle) > wanted:
            least = middle
        else:
            most = middle
    return most
