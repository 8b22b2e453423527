"""Checkpoints: one self-describing safetensors file per network. No pickle is ever read.

The metadata under the key "blitznet" is JSON: format version, architecture, class names, metrics
and details of the training. Weights stored as float16 are loaded as float32.
"""

from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from blitznet.classes import COCO_CLASSES, VOC_CLASSES
from blitznet.errors import CheckpointError, InputError, cut
from blitznet.files.atomic_write import atomic_write
from blitznet.model.blitznet import BlitzNet
from blitznet.model.imagenet_weights import is_counter
from blitznet.model_files import (
    METADATA_KEY,
    CheckpointInfo,
    read_header,
    read_info,
    require_finite,
)


def describe(network: BlitzNet) -> CheckpointInfo:
    """The metadata of a network's checkpoint, or a minimum if it has none."""
    if network.info is not None:
        return network.info
    num_classes = network.config.num_classes
    for names in (VOC_CLASSES, COCO_CLASSES):
        if len(names) == num_classes:
            return CheckpointInfo(model=network.config, names=names)
    numbered = (f"class {index}" for index in range(1, num_classes))
    return CheckpointInfo(model=network.config, names=("background", *numbered))


def save_checkpoint(path: Path, model: BlitzNet, info: CheckpointInfo, half: bool = False) -> None:
    """Save a network, under a temporary name that is renamed at the end.

    Args:
        path: path of the file, replaced if it exists.
        model: network whose weights are saved.
        info: metadata to save with them.
        half: store convolution weights as float16; the rest stays float32.
    """
    tensors = {
        name: (tensor.half() if half and tensor.ndim == 4 else tensor).detach().cpu().contiguous()
        for name, tensor in model.state_dict().items()
        if not is_counter(name)
    }
    write_safetensors(path, tensors, {METADATA_KEY: info.model_dump_json()})


def write_safetensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """Write a complete file or none.

    Raises:
        InputError: if the file cannot be written.
    """
    with atomic_write(path) as temporary:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            save_file(tensors, temporary, metadata)
        except SafetensorError as error:  # for example, a full disk
            raise OSError(str(error)) from error
        read_header(temporary)  # raises if the file is incomplete
        temporary.chmod(0o644)  # safetensors makes it readable by its owner only


def load_checkpoint(path: Path) -> tuple[BlitzNet, CheckpointInfo]:
    """Load a network with its weights, in evaluation mode, and its metadata.

    Raises:
        CheckpointError: if the file is missing, damaged, foreign or of a newer format, or contains
            weights that are infinite or NaN.
    """
    info = read_info(path)
    try:
        with torch.device("meta"):  # takes no memory, even if the file asks for huge layers
            own = BlitzNet(info.model).state_dict()
        _require_fit(path, own, info)
        model = BlitzNet(info.model)
    except InputError as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{path}: {error}") from error
    model.load_state_dict(read_tensors(path), strict=False)  # casts float16 to float32
    model.info = info
    return model.eval(), info


def read_tensors(path: Path) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file, by name.

    Raises:
        CheckpointError: if they cannot be read, or contain infinite or NaN values.
    """
    try:
        tensors = load_file(path)
    except (SafetensorError, OSError, ValueError, KeyError) as error:
        raise CheckpointError(
            f"{path} is not a readable safetensors file ({cut(str(error))})"
        ) from None
    for name, tensor in tensors.items():
        if tensor.is_floating_point():
            require_finite(path, name, bool(tensor.isfinite().all()))
    return tensors


def _require_fit(path: Path, own: dict[str, Tensor], info: CheckpointInfo) -> None:
    """Require that the shapes in a checkpoint's header are those of its architecture."""
    expected = {name: tuple(one.shape) for name, one in own.items() if not is_counter(name)}
    _, found = read_header(path)
    differing = [n for n in found | expected if found.get(n) != expected.get(n)]
    if differing:
        name = min(differing)
        raise CheckpointError(
            f"{path}: {len(differing)} tensors do not fit {info.model.name}, first {cut(name)}: "
            f"wanted {expected.get(name, 'nothing')}, got {cut(str(found.get(name, 'nothing')))}"
        )
