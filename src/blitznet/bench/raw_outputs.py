"""Raw outputs to post-process: what a network says of pictures, and the worst that could come."""

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from PIL import Image
from torch import Tensor

from blitznet.detection import box_coder
from blitznet.model.blitznet import BlitzNet, build, normalize_images
from blitznet.structures import RawPredictions

# The network with the most anchors at 300 pixels.
FINE_NETWORK = "blitznet300"
# Side of the grid of its finest level, and of the next one, which is the finest of stride 8.
_FINEST, _NEXT = 75, 38
_ANCHORS_PER_CELL = 6


@torch.inference_mode()
def predict_raw(model: BlitzNet, images: Sequence[np.ndarray]) -> RawPredictions:
    """What the network says of (H, W, 3) uint8 pictures, resized as in prediction."""
    config = model.config
    size = (config.image_size, config.image_size)
    pixels = np.stack(
        [
            np.asarray(Image.fromarray(image).resize(size, Image.Resampling.BILINEAR))
            for image in images
        ]
    )
    batch = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    raw: RawPredictions = model.eval()(normalize_images(batch, config.mean, config.std))
    assert raw.class_logits is not None
    assert raw.box_deltas is not None
    return RawPredictions(raw.class_logits.clone(), raw.box_deltas.clone(), None)


def fine_anchors() -> Tensor:
    """The 45 390 anchors of FINE_NETWORK."""
    anchors: Tensor = build(FINE_NETWORK).anchors
    return anchors


def refine(raw: RawPredictions) -> RawPredictions:
    """Outputs for 11 640 anchors to some for 45 390.

    The levels of stride 8 and coarser are the same grids in both. The level of stride 4 says in
    each cell what that of stride 8 says at the place, so candidates are there about four times.
    """
    return RawPredictions(_repeat(raw.class_logits), _repeat(raw.box_deltas), None)


def _repeat(values: Tensor | None) -> Tensor:
    assert values is not None
    images, _, width = values.shape
    next_level = values[:, : _NEXT * _NEXT * _ANCHORS_PER_CELL]
    cells = next_level.reshape(images, _NEXT, _NEXT, -1).permute(0, 3, 1, 2)
    finest = F.interpolate(cells, size=_FINEST, mode="nearest").permute(0, 2, 3, 1)
    return torch.cat((finest.reshape(images, -1, width), values), dim=1)


def worst_cases(batch: int, anchors: Tensor, num_classes: int) -> dict[str, RawPredictions]:
    """Every anchor reaches 0.01 for every class; B raw outputs a case, by its name."""
    rng = torch.Generator().manual_seed(0)
    count = len(anchors)
    noise = torch.randn(batch, count, num_classes, generator=rng) / 4
    somewhere = torch.randn(batch, count, 4, generator=rng) / 2
    one_box = anchors.new_tensor((100.0, 100.0, 200.0, 200.0)).expand(count, -1)
    side = math.ceil(math.sqrt(count))
    position = torch.arange(count)
    corner = torch.stack((position % side, position // side), dim=1) * (300 / side)
    apart = torch.cat((corner, corner + 200 / side), dim=1)
    boxes = {
        "noise": somewhere,
        "one box": box_coder.encode(one_box, anchors).expand(batch, -1, -1),
        "boxes apart": box_coder.encode(apart, anchors).expand(batch, -1, -1),
    }
    cases = {
        f"worst: {name}": RawPredictions(noise, deltas, None) for name, deltas in boxes.items()
    }
    cases["worst: one score"] = RawPredictions(noise * 0, somewhere, None)
    return cases
