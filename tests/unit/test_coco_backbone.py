"""tools/coco_backbone.py, on a detector's file made of a backbone with random batch norms."""

import json
from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from numpy.typing import NDArray
from PIL import Image
from safetensors.torch import load_file
from torch import nn

import coco_backbone as tool

Written = tuple[nn.Module, nn.Module, torch.Tensor]


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Written:
    """The backbone of the detector, the one that was read from its file, and the images used."""
    folder = tmp_path_factory.mktemp("detector")
    torch.manual_seed(0)
    backbone = timm.create_model("mobilenetv2_100", num_classes=0, pad_type="same").eval()
    for layer in tool.layers_of(backbone):
        state = layer.norm.state_dict()  # shares memory
        for name in ("weight", "running_var"):
            nn.init.uniform_(state[name], 0.5, 1.5)
        for name in ("bias", "running_mean"):
            nn.init.normal_(state[name], std=0.1)
    write_detector(backbone, folder)
    pixels = np.random.default_rng(0).integers(0, 256, (3, 300, 300, 3), np.uint8)
    for number, image in enumerate(pixels):
        # Lossless: the format is read from the content.
        Image.fromarray(image).save(folder / f"{number}.jpg", "PNG")
    tool.coco_backbone(folder, folder, folder / "backbone.safetensors")
    read = timm.create_model("mobilenetv2_100", num_classes=0, pad_type="same").eval()
    read.load_state_dict(load_file(folder / "backbone.safetensors"))
    return backbone, read, torch.from_numpy(pixels).permute(0, 3, 1, 2) / 127.5 - 1


def write_detector(backbone: nn.Module, folder: Path) -> None:
    """Write a backbone as the detector's file does: merged, in two parts, among other tensors."""
    tensors: dict[str, NDArray[np.generic]] = {"Postprocessor/size": np.array([1, 2], np.int32)}
    for layer in tool.layers_of(backbone):
        norm, prefix = layer.norm, tool.PREFIX + layer.name
        assert norm.running_var is not None
        assert norm.running_mean is not None
        scale = norm.weight / (norm.running_var + norm.eps).sqrt()
        if layer.name.endswith("depthwise"):
            weight = layer.convolution.weight.permute(2, 3, 0, 1)
            tensors[f"{prefix}/depthwise_weights"] = weight.detach().numpy()
            tensors[f"{prefix}/BatchNorm/batchnorm/mul"] = scale.detach().numpy()
        else:
            weight = (layer.convolution.weight * scale[:, None, None, None]).permute(2, 3, 1, 0)
            tensors[f"{prefix}/Conv2D/merged_input"] = weight.detach().numpy()
        bias = norm.bias - norm.running_mean * scale
        tensors[f"{prefix}/BatchNorm/batchnorm/sub"] = bias.detach().numpy()
    data = b"".join(tensor.tobytes() for tensor in tensors.values())
    (folder / "part1").write_bytes(data[:1001])
    (folder / "part2").write_bytes(data[1001:])
    entries = [
        {"name": name, "shape": list(tensor.shape), "dtype": tensor.dtype.name}
        for name, tensor in tensors.items()
    ]
    manifest = [{"paths": ["part1", "part2"], "weights": entries}]
    (folder / "model.json").write_text(json.dumps({"weightsManifest": manifest}))


@torch.inference_mode()
def test_the_backbone_computes_what_the_detectors_does(written: Written) -> None:
    backbone, read, images = written
    expected = backbone(images)
    assert expected.std() > 0.01
    torch.testing.assert_close(read(images), expected, rtol=1e-3, atol=1e-4)


@torch.inference_mode()
def test_the_statistics_are_those_of_the_images(written: Written) -> None:
    """In training, batch norms use the statistics of the batch: the output stays the same."""
    _, read, images = written
    actual = deepcopy(read).train()(images)
    torch.testing.assert_close(actual, read(images), rtol=1e-2, atol=1e-3)
