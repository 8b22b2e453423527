"""One self-describing safetensors file per network. No pickle is ever read.

Metadata under the key "blitznet" is JSON: format version, architecture, class names, measured
metrics and how the network was trained. Weights may be stored as float32, float16, or int8 with one
scale per output channel (`NAME` and `NAME.scale`); they come back as float32.
"""

import os
from pathlib import Path
from typing import Literal

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from blitznet.classes import COCO_CLASSES, VOC_CLASSES
from blitznet.errors import CheckpointError, InputError
from blitznet.model.blitznet import BlitzNet
from blitznet.model_files import METADATA_KEY, CheckpointInfo, read_info
from blitznet.whole_file import whole_file

Storage = Literal["float32", "float16", "int8"]

_SCALE = ".scale"


def describe(network: BlitzNet) -> CheckpointInfo:
    """What the checkpoint of a network said, or the little that is known of one without."""
    if network.info is not None:
        return network.info
    num_classes = network.config.num_classes
    for names in (VOC_CLASSES, COCO_CLASSES):
        if len(names) == num_classes:
            return CheckpointInfo(model=network.config, names=names)
    numbered = (f"class {index}" for index in range(1, num_classes))
    return CheckpointInfo(model=network.config, names=("background", *numbered))


def save_checkpoint(
    path: Path, model: BlitzNet, info: CheckpointInfo, storage: Storage = "float32"
) -> None:
    """Write to a temporary name in the same folder, then rename.

    Args:
        path: of the file, replaced if it exists.
        model: whose weights are saved.
        info: saved beside them.
        storage: float16 and int8 apply to convolution weights; the rest stays float32.
    """
    tensors: dict[str, Tensor] = {}
    for name, tensor in model.state_dict().items():
        if name.endswith("num_batches_tracked"):
            continue
        tensor = tensor.detach().cpu().contiguous()
        if tensor.ndim < 4 or storage == "float32":
            tensors[name] = tensor
        elif storage == "float16":
            tensors[name] = tensor.half()
        else:
            tensors[name], tensors[name + _SCALE] = quantize_per_channel(tensor)
    write_safetensors(path, tensors, {METADATA_KEY: info.model_dump_json()})


def quantize_per_channel(weight: Tensor) -> tuple[Tensor, Tensor]:
    """(out, ...) float to (out, ...) int8 in -127..127 and (out,) float32 scale."""
    scale = weight.flatten(1).abs().amax(dim=1).clamp(min=1e-12) / 127
    return (weight / _as_column(scale, weight)).round().to(torch.int8), scale


def _as_column(scale: Tensor, weight: Tensor) -> Tensor:
    return scale.view(-1, *[1] * (weight.ndim - 1))


def write_safetensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """A whole file or none.

    Raises:
        InputError: if it cannot be written.
    """
    with whole_file(path) as temporary:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            save_file(tensors, temporary, metadata)
        except SafetensorError as error:  # a full disk, for one
            raise OSError(str(error)) from error
        with temporary.open("rb+") as file:
            os.fsync(file.fileno())  # training must survive a power cut, too
        temporary.chmod(0o644)  # safetensors makes it readable to its owner only


def load_checkpoint(path: Path) -> tuple[BlitzNet, CheckpointInfo]:
    """A network in evaluation mode with its weights, and what it says of itself.

    Raises:
        CheckpointError: if the file is missing, damaged, foreign, or of a newer format.
    """
    info = read_info(path)
    try:
        model = BlitzNet(info.model)
    except InputError as error:
        raise CheckpointError(f"{path}: {error}") from error
    weights = _read_weights(path)
    expected = {
        name: tensor.shape
        for name, tensor in model.state_dict().items()
        if not name.endswith("num_batches_tracked")
    }
    found = {name: tensor.shape for name, tensor in weights.items()}
    if found != expected:
        differing = sorted(
            name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name)
        )
        raise CheckpointError(
            f"{path}: {len(differing)} tensors do not fit {info.model.name}, first {differing[0]}: "
            f"wanted {_shape(expected, differing[0])}, got {_shape(found, differing[0])}"
        )
    model.load_state_dict(weights, strict=False)
    model.info = info
    return model.eval(), info


def _shape(shapes: dict[str, torch.Size], name: str) -> str:
    return str(tuple(shapes[name])) if name in shapes else "nothing"


def _read_weights(path: Path) -> dict[str, Tensor]:
    """All tensors of a file as float32, int8 ones multiplied by their scale."""
    with safe_open(path, framework="pt") as file:
        weights = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    for name in [name for name, tensor in weights.items() if tensor.dtype == torch.int8]:
        weight, scale = weights[name], weights.pop(name + _SCALE, None)
        if scale is None or scale.shape != weight.shape[:1]:
            raise CheckpointError(f"{path}: {name} has no scale for each of its channels")
        weights[name] = weight * _as_column(scale, weight)
    return {name: tensor.float() for name, tensor in weights.items()}
