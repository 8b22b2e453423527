"""One self-describing safetensors file per network. No pickle is ever read.

Metadata under the key "blitznet" is JSON: format version, architecture, class names, measured
metrics and how the network was trained. Weights may be stored as float32, float16, or int8 with one
scale per output channel (`NAME` and `NAME.scale`); they come back as float32.
"""

import json
import os
from importlib.resources import files
from pathlib import Path
from typing import Any, Literal

import torch
from pydantic import BaseModel, ConfigDict, Field, ValidationError
from safetensors import SafetensorError, safe_open
from safetensors.torch import save_file
from torch import Tensor

from blitznet.errors import CheckpointError, InputError, first_problem
from blitznet.model.blitznet import BlitzNet
from blitznet.model_info import ModelConfig
from blitznet.whole_file import whole_file

FORMAT_VERSION = 1
Storage = Literal["float32", "float16", "int8"]

_KEY = "blitznet"
_SCALE = ".scale"


class CheckpointInfo(BaseModel):
    """What a checkpoint says of itself.

    Attributes:
        format_version: of the file.
        model: architecture, input size, normalisation and anchors.
        names: class names, background first.
        metrics: measured figures by data set, fractions.
        training: how it came about, for people: data, recipe's name, steps, minutes, hardware, ...
        recipe: all fields of the recipe, to train it again.
    """

    model_config = ConfigDict(frozen=True)

    format_version: int = FORMAT_VERSION
    model: ModelConfig
    names: tuple[str, ...]
    metrics: dict[str, Any] = Field(default_factory=dict)
    training: dict[str, Any] = Field(default_factory=dict)
    recipe: dict[str, Any] = Field(default_factory=dict)


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
    write_safetensors(path, tensors, {_KEY: info.model_dump_json()})


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


def read_info(path: Path) -> CheckpointInfo:
    """What a checkpoint says of itself, without reading its weights.

    Raises:
        CheckpointError: if the file is missing, damaged, foreign, or of a newer format.
    """
    return _parse_info(path, read_metadata(path))


def read_metadata(path: Path) -> dict[str, str]:
    """The header of a safetensors file.

    Raises:
        CheckpointError: if the file is missing or damaged.
    """
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist")
    try:
        with safe_open(path, framework="pt") as file:
            return dict(file.metadata() or {})
    except (SafetensorError, OSError) as error:
        raise CheckpointError(
            f"{path} is no readable safetensors file ({error}); it may be cut short or of another "
            "kind"
        ) from None


def _parse_info(path: Path, metadata: dict[str, str]) -> CheckpointInfo:
    if _KEY not in metadata:
        raise CheckpointError(f"{path} is a safetensors file, but not of BlitzNet")
    try:
        content = json.loads(metadata[_KEY])
        version = content["format_version"]
        if version > FORMAT_VERSION:
            raise CheckpointError(
                f"{path} has format {version}, this version of blitznet reads up to "
                f"{FORMAT_VERSION}; upgrade with pip install -U blitznet"
            )
        info = CheckpointInfo.model_validate(content)
    except ValidationError as error:
        raise CheckpointError(f"{path}: damaged description: {first_problem(error)}") from None
    except (json.JSONDecodeError, KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: damaged description: {error!r}") from None
    if len(info.names) != info.model.num_classes:
        raise CheckpointError(
            f"{path} names {len(info.names)} classes for a network of {info.model.num_classes}"
        )
    return info


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


def bundled_checkpoints() -> dict[str, Path]:
    """Networks that come with the package, by name."""
    folder = Path(str(files("blitznet") / "weights"))
    return {path.stem: path for path in sorted(folder.glob("*.safetensors"))}


def default_model() -> str:
    """The bundled network that is used when none is named.

    Raises:
        CheckpointError: if this installation has none.
    """
    bundled = bundled_checkpoints()
    for name in ("blitznet300", "blitznet300-mobile"):
        if name in bundled:
            return name
    raise CheckpointError("this installation bundles no network; give one with --model FILE")


def find_checkpoint(name_or_path: str) -> Path:
    """A bundled name, or the path of a file, to the file.

    Raises:
        CheckpointError: if it is neither; the text lists the names.
    """
    bundled = bundled_checkpoints()
    if name_or_path in bundled:
        return bundled[name_or_path]
    path = Path(name_or_path)
    if path.is_file():
        return path
    raise CheckpointError(
        f"no network or file is called {name_or_path!r}; bundled: {', '.join(bundled) or 'none'}"
    )
