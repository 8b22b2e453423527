"""One self-describing safetensors file per network. No pickle is ever read.

Metadata under the key "blitznet" is JSON: format version, architecture, class names, measured
metrics and how the network was trained. Weights stored as float16 come back as float32.
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
    """What the checkpoint of a network said, or the little that is known of one without."""
    if network.info is not None:
        return network.info
    num_classes = network.config.num_classes
    for names in (VOC_CLASSES, COCO_CLASSES):
        if len(names) == num_classes:
            return CheckpointInfo(model=network.config, names=names)
    numbered = (f"class {index}" for index in range(1, num_classes))
    return CheckpointInfo(model=network.config, names=("background", *numbered))


def save_checkpoint(path: Path, model: BlitzNet, info: CheckpointInfo, half: bool = False) -> None:
    """Write to a temporary name in the same folder, then rename.

    Args:
        path: of the file, replaced if it exists.
        model: whose weights are saved.
        info: saved beside them.
        half: store convolution weights as float16; the rest stays float32.
    """
    tensors = {
        name: (tensor.half() if half and tensor.ndim == 4 else tensor).detach().cpu().contiguous()
        for name, tensor in model.state_dict().items()
        if not is_counter(name)
    }
    write_safetensors(path, tensors, {METADATA_KEY: info.model_dump_json()})


def write_safetensors(path: Path, tensors: dict[str, Tensor], metadata: dict[str, str]) -> None:
    """A whole file or none.

    Raises:
        InputError: if it cannot be written.
    """
    with atomic_write(path) as temporary:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            save_file(tensors, temporary, metadata)
        except SafetensorError as error:  # a full disk, for one
            raise OSError(str(error)) from error
        read_header(temporary)  # has all that it says it has
        temporary.chmod(0o644)  # safetensors makes it readable to its owner only


def load_checkpoint(path: Path) -> tuple[BlitzNet, CheckpointInfo]:
    """A network in evaluation mode with its weights, and what it says of itself.

    Raises:
        CheckpointError: if the file is missing, damaged, foreign, of a newer format, or holds
            weights that are infinite or NaN.
    """
    info = read_info(path)
    try:
        with torch.device("meta"):  # takes no memory, whatever sizes the file asks for
            own = BlitzNet(info.model).state_dict()
        _require_fit(path, own, info)
        model = BlitzNet(info.model)
    except InputError as error:
        if isinstance(error, CheckpointError):
            raise
        raise CheckpointError(f"{path}: {error}") from error
    model.load_state_dict(read_tensors(path), strict=False)  # which casts
    model.info = info
    return model.eval(), info


def read_tensors(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, by name.

    Raises:
        CheckpointError: if they cannot be read, or one holds infinite or NaN values.
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
    """Compare the shapes in the header of a checkpoint with those of its architecture."""
    expected = {name: tuple(one.shape) for name, one in own.items() if not is_counter(name)}
    found = read_header(path).shapes
    differing = [n for n in found | expected if found.get(n) != expected.get(n)]
    if differing:
        name = min(differing)
        raise CheckpointError(
            f"{path}: {len(differing)} tensors do not fit {info.model.name}, first {cut(name)}: "
            f"wanted {expected.get(name, 'nothing')}, got {cut(str(found.get(name, 'nothing')))}"
        )
