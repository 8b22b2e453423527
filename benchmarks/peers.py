"""Torchvision's networks in their usual form, for comparison with ours in benchmarks/race.py.

Their weights are random, which does not affect the speed of the network itself. For realistic
post-processing, they are adjusted to give about as many boxes as trained ones; see untrained.py.
"""

import copy
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torchvision.models import detection, segmentation
from torchvision.transforms.functional import pil_to_tensor

from blitznet.bench import Predict, Seconds
from blitznet.image import resize_to_input
from blitznet.model_info import IMAGENET_MEAN, IMAGENET_STD
from untrained import (
    SETTLING_IMAGES,
    settle_batch_norms,
    shift_background,
    shift_every_class,
    spread_logits,
)

NUM_CLASSES = 21
SIDE = 300  # input side of all networks that take any size, same as ours

# fp32 as built by torchvision; fp32 and bf16 in channels-last, which is faster on most machines.
TORCH_DEFAULT, TORCH, TORCH_BF16 = "torch-nchw", "torch", "torch-bf16"

# Parts of a detector, such as `model.head`, have no types of their own.
Model = Any
Precision = Callable[[], AbstractContextManager[Any]]
Found = list[Any]  # for tests: the result for each image


@dataclass(frozen=True)
class Peer:
    """One of torchvision's networks.

    Attributes:
        build: builds it with random weights.
        finds: "boxes" or "map".
        engines: engines that it is measured with.
    """

    build: Callable[[], Model]
    finds: str
    engines: tuple[str, ...] = (TORCH, TORCH_BF16)


def _network(build: Callable[..., Model], **settings: Any) -> Callable[[], Model]:
    return partial(build, weights=None, weights_backbone=None, num_classes=NUM_CLASSES, **settings)


_ALL = (TORCH_DEFAULT, TORCH, TORCH_BF16)
_FIXED = {"fixed_size": (SIDE, SIDE)}

PEERS: dict[str, Peer] = {
    "ssd300_vgg16": Peer(_network(detection.ssd300_vgg16), "boxes", _ALL),
    "ssdlite320_mobilenet_v3_large": Peer(
        _network(detection.ssdlite320_mobilenet_v3_large), "boxes", _ALL
    ),
    "retinanet_resnet50_fpn 300x300": Peer(
        _network(detection.retinanet_resnet50_fpn, **_FIXED), "boxes"
    ),
    "deeplabv3_resnet50": Peer(_network(segmentation.deeplabv3_resnet50), "map"),
    "lraspp_mobilenet_v3_large": Peer(_network(segmentation.lraspp_mobilenet_v3_large), "map"),
}


def build_peer(peer: Peer, images: Sequence[Image.Image]) -> Model:
    """Build a peer in evaluation mode, fp32 on the CPU, always with the same weights.

    Args:
        peer: one of PEERS.
        images: images of which the first ones adjust a detector's weights, see `untrained`.
    """
    torch.manual_seed(0)
    model = peer.build().eval()
    if peer.finds == "boxes":
        with torch.no_grad():
            _settle_detector(model, images[:SETTLING_IMAGES])
    return model


def predict_with_peer(peer: Peer, model: Model, engine: str, device: torch.device) -> Predict:
    """Make a function that predicts decoded images with a copy of the model and times its stages.

    Args:
        peer: one of PEERS.
        model: result of `build_peer`.
        engine: TORCH_DEFAULT, TORCH or TORCH_BF16.
        device: device of the copy.
    """
    ready = copy.deepcopy(model).to(device)
    if engine != TORCH_DEFAULT:
        ready.to(memory_format=torch.channels_last)
    if engine == TORCH_BF16:  # convert once; autocast alone would do it in every call
        for module in ready.modules():
            if isinstance(module, nn.Conv2d | nn.Linear):
                module.to(torch.bfloat16)
    precision = partial(torch.autocast, device.type, torch.bfloat16, enabled=engine == TORCH_BF16)
    predict = _predict_of_detector if peer.finds == "boxes" else _predict_of_segmenter
    return predict(ready, device, precision)


def _predict_of_detector(model: Model, device: torch.device, precision: Precision) -> Predict:
    """The model does everything itself; a hook records when the resized image enters it."""
    moments: list[float] = []
    is_last = next(model.backbone.parameters()).is_contiguous(memory_format=torch.channels_last)

    def before_backbone(_: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        moments.append(_now(device))
        return (inputs[0].contiguous(memory_format=torch.channels_last),) if is_last else inputs

    model.backbone.register_forward_pre_hook(before_backbone)
    _keep_boxes_precise(model)

    @torch.inference_mode()
    def predict(images: Sequence[Image.Image], found: Found | None = None) -> Seconds:
        moments[:] = [perf_counter()]
        with precision():
            results = model([pil_to_tensor(image).to(device).float() / 255 for image in images])
        moments.append(_now(device))
        for result in results:
            boxes = {name: value.float().cpu().numpy() for name, value in result.items()}
            if found is not None:
                found.append(boxes)
        return _stages(*moments, perf_counter())

    return predict


def _predict_of_segmenter(model: Model, device: torch.device, precision: Precision) -> Predict:
    """Same as torchvision's reference, but resized by Pillow and to our size."""
    mean = torch.tensor(IMAGENET_MEAN, device=device).view(3, 1, 1) * 255
    std = torch.tensor(IMAGENET_STD, device=device).view(3, 1, 1) * 255

    @torch.inference_mode()
    def predict(images: Sequence[Image.Image], found: Found | None = None) -> Seconds:
        start = perf_counter()
        pixels = torch.from_numpy(np.stack([resize_to_input(image, SIDE) for image in images]))
        inputs = (pixels.to(device).permute(0, 3, 1, 2).float() - mean) / std
        resized = _now(device)
        with precision():
            logits = model(inputs)["out"].float()
        network = _now(device)
        for one, image in zip(logits, images, strict=True):
            full = F.interpolate(one[None], image.size[::-1], mode="bilinear")
            seg_map = full.argmax(dim=1)[0].to(torch.uint8).cpu().numpy()
            if found is not None:
                found.append(seg_map)
        return _stages(start, resized, network, perf_counter())

    return predict


def _now(device: torch.device) -> float:
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
    return perf_counter()


def _stages(start: float, resized: float, network: float, end: float) -> Seconds:
    return {"resize": resized - start, "network": network - resized, "post": end - network}


def _keep_boxes_precise(model: Model) -> None:
    """Keep scores, deltas and anchors in float32, whatever the network's precision."""

    def to_float(_: nn.Module, __: object, output: dict[str, Tensor]) -> dict[str, Tensor]:
        return {name: value.float() for name, value in output.items()}

    def with_float_features(_: nn.Module, inputs: tuple[Any, list[Tensor]]) -> tuple[Any, ...]:
        """Anchors get the dtype of the features, and use nothing else of them but their shape."""
        images, features = inputs
        return images, [torch.empty_like(level, dtype=torch.float32) for level in features]

    model.head.register_forward_hook(to_float)
    model.anchor_generator.register_forward_pre_hook(with_float_features)


def _settle_detector(model: Model, images: Sequence[Image.Image]) -> None:
    inputs = [pil_to_tensor(image).float() / 255 for image in images]
    settle_batch_norms(model, lambda: model(inputs))
    head = model.head.classification_head

    def logits_of_head() -> Tensor:
        outputs: list[Tensor] = []
        hook = head.register_forward_hook(lambda _, __, output: outputs.append(output))
        model(inputs)
        hook.remove()
        return outputs[-1]

    if isinstance(model, detection.RetinaNet):
        logits = spread_logits([head.cls_logits], logits_of_head)
        shift_every_class(head.cls_logits, logits, len(images), model.score_thresh)
    else:  # SSD: a layer per level; in SSDlite, its last part computes the logits
        last = [one[-1] if isinstance(one, nn.Sequential) else one for one in head.module_list]
        logits = spread_logits(last, logits_of_head)
        shift_background(last, logits, len(images), model.score_thresh)
