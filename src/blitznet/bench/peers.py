"""Torchvision's networks as they are used: the peers of the speed benchmark.

Their weights are random, as the time of a network does not depend on them; what follows it gets as
many boxes as ours, see `untrained`.
"""

import copy
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models import detection, segmentation
from torchvision.transforms.functional import pil_to_tensor

from blitznet.bench.contestant import NETWORK, POSTPROCESS, PREPROCESS, Contestant, Found, Look
from blitznet.bench.race import Laps
from blitznet.bench.record import Tasks
from blitznet.bench.untrained import (
    settle_batch_norms,
    shift_background,
    shift_every_class,
    spread_logits,
)
from blitznet.errors import InputError
from blitznet.inference.engines.torch_engine import cast_convolutions
from blitznet.model_info import IMAGENET_MEAN, IMAGENET_STD

NUM_CLASSES = 21
SIDE = 300  # of all that can take any size, as ours

# fp32 as torchvision builds it; fp32 and bf16 with channels last, which is faster on most machines.
TORCH_DEFAULT, TORCH, TORCH_BF16 = "torch-nchw", "torch", "torch-bf16"

_SETTLING_PICTURES = 1  # as memory is measured with it, too, one at a time

# A detector's parts, as `model.roi_heads`, have no types of their own.
Model = Any


@dataclass(frozen=True)
class Peer:
    """One of torchvision's networks.

    Attributes:
        build: with random weights.
        tasks: what it finds.
        input_size: side in pixels, of the shorter side where the aspect is kept.
        runtimes: that it is measured with.
    """

    build: Callable[[], Model]
    tasks: Tasks
    input_size: int
    runtimes: tuple[str, ...] = (TORCH, TORCH_BF16)


def _detector(build: Callable[..., Model], **settings: Any) -> Callable[[], Model]:
    return partial(build, weights=None, weights_backbone=None, num_classes=NUM_CLASSES, **settings)


REFERENCE = "torchvision ssd300_vgg16"

PEERS: dict[str, Peer] = {
    REFERENCE: Peer(
        _detector(detection.ssd300_vgg16), "boxes", 300, (TORCH_DEFAULT, TORCH, TORCH_BF16)
    ),
    "torchvision retinanet_resnet50_fpn 300x300": Peer(
        _detector(detection.retinanet_resnet50_fpn, fixed_size=(SIDE, SIDE)), "boxes", SIDE
    ),
    "torchvision retinanet_resnet50_fpn": Peer(
        _detector(detection.retinanet_resnet50_fpn), "boxes", 800
    ),
    "torchvision fasterrcnn_resnet50_fpn": Peer(
        _detector(detection.fasterrcnn_resnet50_fpn), "boxes", 800
    ),
    "torchvision deeplabv3_resnet50": Peer(_detector(segmentation.deeplabv3_resnet50), "map", SIDE),
    "torchvision lraspp_mobilenet_v3_large": Peer(
        _detector(segmentation.lraspp_mobilenet_v3_large), "map", SIDE
    ),
}


def find_peers(parts: Sequence[str]) -> tuple[str, ...]:
    """All peers whose name contains one of the parts; `none` = none.

    Raises:
        InputError: for a part that is in no name.
    """
    if tuple(parts) == ("none",):
        return ()
    for part in parts:
        if not any(part in name for name in PEERS):
            raise InputError(f"no peer's name contains {part!r}; there are {'; '.join(PEERS)}")
    return tuple(name for name in PEERS if any(part in name for part in parts))


def build_peer(name: str, images: Sequence[Image.Image]) -> Model:
    """In evaluation mode, fp32 on the CPU; the same weights in every process.

    Args:
        name: one of PEERS.
        images: some pictures to settle a detector with, see `untrained`.
    """
    torch.manual_seed(0)
    model = PEERS[name].build().eval()
    if PEERS[name].tasks == "boxes":
        with torch.no_grad():
            _settle_detector(model, images[:_SETTLING_PICTURES])
    return model


def open_peer(
    name: str, model: Model, runtime: str, device: torch.device, images: Sequence[Image.Image]
) -> Contestant:
    """A peer that can be timed.

    Args:
        name: one of PEERS.
        model: of `build_peer`, which stays as it is.
        runtime: TORCH_DEFAULT, TORCH or TORCH_BF16.
        device: where it runs.
        images: of which the first is looked at, to count its work and its boxes.
    """
    peer = PEERS[name]
    ready = copy.deepcopy(model).to(device)
    if runtime != TORCH_DEFAULT:
        ready.to(memory_format=torch.channels_last)
    is_bf16 = runtime == TORCH_BF16
    if is_bf16:
        cast_convolutions(ready)
    precision = partial(torch.autocast, device.type, torch.bfloat16, enabled=is_bf16)
    if peer.tasks == "boxes":
        look = _look_of_detector(ready, device, precision)
    else:
        look = _look_of_segmenter(ready, device, precision)
    scored = _scored_part(ready) if peer.tasks == "boxes" else ready
    with FlopCounterMode(display=False) as counter, _outputs_of(scored) as outputs:
        look(images[:1], Laps())
    return Contestant(
        look=look,
        tasks=peer.tasks,
        input_size=peer.input_size,
        anchors=_num_boxes(outputs[0]) if peer.tasks == "boxes" else None,
        parameters=sum(parameter.numel() for parameter in model.parameters()),
        gflops=counter.get_total_flops() / 1e9,
    )


Precision = Callable[[], AbstractContextManager[Any]]


def _look_of_detector(model: Model, device: torch.device, precision: Precision) -> Look:
    """The model does everything itself; hooks stop the clock on the way."""
    laps = Laps()
    last_layer: nn.Module = model.roi_heads.box_predictor if _is_two_stage(model) else model.head

    def before_backbone(_: nn.Module, inputs: tuple[Tensor]) -> tuple[Tensor]:
        laps.end(PREPROCESS)
        is_last = next(model.backbone.parameters()).is_contiguous(memory_format=torch.channels_last)
        return (inputs[0].contiguous(memory_format=torch.channels_last),) if is_last else inputs

    def after_last_layer(*_: object) -> None:
        laps.end(NETWORK)

    model.backbone.register_forward_pre_hook(before_backbone)
    _keep_boxes_precise(model)
    last_layer.register_forward_hook(after_last_layer)

    @torch.inference_mode()
    def look(images: Sequence[Image.Image], clock: Laps) -> list[Found]:
        nonlocal laps
        laps = clock
        with precision():
            pictures = [pil_to_tensor(image).to(device).float() / 255 for image in images]
            results = model(pictures)
        found = [
            Found(
                result["boxes"].float().cpu().numpy(),
                result["labels"].cpu().numpy(),
                result["scores"].float().cpu().numpy(),
                None,
            )
            for result in results
        ]
        laps.end(POSTPROCESS)
        return found

    return look


def _look_of_segmenter(model: Model, device: torch.device, precision: Precision) -> Look:
    """As torchvision's reference does it, but resized by Pillow and to our size."""
    mean = torch.tensor(IMAGENET_MEAN, device=device).view(3, 1, 1) * 255
    std = torch.tensor(IMAGENET_STD, device=device).view(3, 1, 1) * 255

    @torch.inference_mode()
    def look(images: Sequence[Image.Image], laps: Laps) -> list[Found]:
        resized = [image.resize((SIDE, SIDE), Image.Resampling.BILINEAR) for image in images]
        pixels = torch.from_numpy(np.stack([np.asarray(image) for image in resized])).to(device)
        pictures = (pixels.permute(0, 3, 1, 2).float() - mean) / std
        laps.end(PREPROCESS)
        with precision():
            logits = model(pictures)["out"].float()
        laps.end(NETWORK)
        found = []
        for row, image in enumerate(images):
            width, height = image.size
            full = F.interpolate(
                logits[row : row + 1], (height, width), mode="bilinear", align_corners=False
            )
            seg_map = full[0].argmax(dim=0).to(torch.uint8).cpu().numpy()
            found.append(Found(None, None, None, seg_map))
        laps.end(POSTPROCESS)
        return found

    return look


def _is_two_stage(model: Model) -> bool:
    return isinstance(model, detection.FasterRCNN)


def _keep_boxes_precise(model: Model) -> None:
    """Scores, deltas and anchors in float32, whatever the network computes in."""

    def to_float(_: nn.Module, __: object, output: Any) -> Any:
        return _map_tensors(output, torch.Tensor.float)

    def with_float_features(_: nn.Module, inputs: tuple[Any, list[Tensor]]) -> tuple[Any, ...]:
        """Anchors are made with the type of the features, of which only the shape counts."""
        images, features = inputs
        return images, [torch.empty_like(level, dtype=torch.float32) for level in features]

    heads: list[nn.Module]
    if _is_two_stage(model):
        heads = [model.rpn.head, model.roi_heads.box_predictor]
        anchor_generator = model.rpn.anchor_generator
    else:
        heads, anchor_generator = [model.head], model.anchor_generator
    for head in heads:
        head.register_forward_hook(to_float)
    anchor_generator.register_forward_pre_hook(with_float_features)


def _map_tensors(value: Any, function: Callable[[Tensor], Tensor]) -> Any:
    if isinstance(value, Tensor):
        return function(value)
    if isinstance(value, dict):
        return {key: _map_tensors(item, function) for key, item in value.items()}
    return type(value)(_map_tensors(item, function) for item in value)


def _settle_detector(model: Model, images: Sequence[Image.Image]) -> None:
    pictures = [pil_to_tensor(image).float() / 255 for image in images]
    settle_batch_norms(model, lambda: model(pictures))
    if isinstance(model, detection.RetinaNet):
        head = model.head.classification_head
        logits = spread_logits([head.cls_logits], lambda: _output_of(head, model, pictures))
        shift_every_class(head.cls_logits, logits, len(images), model.score_thresh)
    elif _is_two_stage(model):
        predictor = model.roi_heads.box_predictor
        logits = spread_logits(
            [predictor.cls_score], lambda: _output_of(predictor, model, pictures)[0]
        )
        shift_background([predictor.cls_score], logits, len(images), model.roi_heads.score_thresh)
    else:
        head = model.head.classification_head
        logits = spread_logits(head.module_list, lambda: _output_of(head, model, pictures))
        shift_background(head.module_list, logits, len(images), model.score_thresh)


def _output_of(module: nn.Module, model: Model, pictures: list[Tensor]) -> Any:
    """What one part says while the whole model looks at pictures."""
    with _outputs_of(module) as outputs:
        model(pictures)
    return outputs[-1]


@contextmanager
def _outputs_of(module: nn.Module) -> Iterator[list[Any]]:
    outputs: list[Any] = []
    hook = module.register_forward_hook(lambda _, __, output: outputs.append(output))
    try:
        yield outputs
    finally:
        hook.remove()


def _scored_part(model: Model) -> nn.Module:
    """What gives the boxes that are scored: all anchors, or the first stage's proposals."""
    part: nn.Module = model.rpn if _is_two_stage(model) else model.anchor_generator
    return part


def _num_boxes(output: Any) -> int:
    """Of one picture; the first stage gives its boxes and its losses, which are none."""
    boxes = output[0] if isinstance(output, tuple) else output
    return sum(len(of_picture) for of_picture in boxes)
