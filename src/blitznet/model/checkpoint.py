"""One self-describing safetensors file per network. No pickle is ever read.

Metadata under the key "blitznet" is JSON: format version, architecture, class names, measured
metrics and how the network was trained. Weights stored as float16 come back as float32.
"""

import os
from pathlib import Path

from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor

from blitznet.classes import COCO_CLASSES, VOC_CLASSES
from blitznet.errors import CheckpointError, InputError
from blitznet.model.blitznet import BlitzNet
from blitznet.model.imagenet_weights import is_counter
from blitznet.model_files import METADATA_KEY, CheckpointInfo, read_info
from blitznet.whole_file import whole_file


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
    weights = load_file(path)
    own = {name: tensor for name, tensor in model.state_dict().items() if not is_counter(name)}
    expected, found = _shapes(own), _shapes(weights)
    if found != expected:
        name = min(n for n in found | expected if found.get(n) != expected.get(n))
        number = sum(found.get(n) != expected.get(n) for n in found | expected)
        raise CheckpointError(
            f"{path}: {number} tensors do not fit {info.model.name}, first {name}: "
            f"wanted {expected.get(name, 'nothing')}, got {found.get(name, 'nothing')}"
        )
    model.load_state_dict(weights, strict=False)  # which casts
    model.info = info
    return model.eval(), info


def _shapes(tensors: dict[str, Tensor]) -> dict[str, tuple[int, ...]]:
    return {name: tuple(tensor.shape) for name, tensor in tensors.items()}
