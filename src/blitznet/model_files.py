"""Find network files and read their metadata. Does not need PyTorch."""

import os
import re
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from blitznet.errors import CheckpointError, InputError, cut, first_problem, shown
from blitznet.files.regular_file import MEGABYTE, open_regular, read_regular
from blitznet.files.text_files import parse_json
from blitznet.model_info import ModelConfig

CHECKPOINT_FORMAT_VERSION = 1
EXPORT_FORMAT_VERSION = 1
METADATA_KEY = "blitznet"
STATE_KEY = "blitznet_training"  # of a run's state, which is not a network

DEFAULT_MODEL = "blitznet300-mobile"  # of the bundled networks

FilePrecision = Literal["fp32", "fp16", "int8"]

_SUFFIXES = (".onnx", ".safetensors")

_MAX_FILE = 16 * 1024 * MEGABYTE
_MAX_HEADER = 16 * MEGABYTE
_TORCH_SAVE = (b"PK\3\4", b"\x80\2")  # how files of torch.save begin, new and old
_MAX_EXPORTED = 2048 * MEGABYTE  # limit of protobuf

# The key `location` of ONNX's external data, as protobuf encodes it: length, then text.
_EXTERNAL_DATA = re.compile(rb"(?:\x08|\x88\x80*\x00)location")

# Field numbers from onnx.proto3.
_GRAPH, _INITIALIZER = 7, 5
_DATA_TYPE, _FLOAT_DATA, _NAME, _RAW_DATA, _DOUBLE_DATA = 2, 4, 8, 9, 10
_FLOAT_TYPES = {1: "<f4", 10: "<f2", 11: "<f8"}

ClassName = Annotated[str, Field(min_length=1, max_length=200)]


class CheckpointInfo(BaseModel):
    """Metadata of a checkpoint.

    Attributes:
        format_version: version of the checkpoint format.
        model: architecture, input size, normalisation and anchors.
        names: class names, background first.
        supervised_boxes: classes with boxes in the training data; None = all. Predictions omit the
            other classes; an empty list turns the head off.
        supervised_masks: the same for classes with labelled pixels, without background.
        metrics: metrics by dataset, as fractions.
        training: facts about the run, for people: data, recipe name, steps, minutes, hardware, ...
        recipe: all fields of the recipe, to repeat the training.
    """

    model_config = ConfigDict(frozen=True)

    format_version: int = CHECKPOINT_FORMAT_VERSION
    model: ModelConfig
    names: tuple[ClassName, ...]
    supervised_boxes: list[str] | None = None
    supervised_masks: list[str] | None = None
    metrics: dict[str, Any] = Field(default_factory=dict)
    training: dict[str, Any] = Field(default_factory=dict)
    recipe: dict[str, Any] = Field(default_factory=dict)


class ExportInfo(CheckpointInfo):
    """A checkpoint's metadata, and the settings fixed at export.

    The file takes pixels and normalises them itself, by `model.mean` and `model.std`.

    Attributes:
        format_version: version of the export format.
        score: minimum score of an object, inclusive.
        iou: NMS threshold; of two boxes of a class with a higher IoU, only the better one stays.
        top: number of rows of the outputs.
        precision: precision of the weights.
        outputs: names of the outputs, in order.
        caution: warning if int8 deviates from float32 by more than its tolerance: where, and by
            how much.
    """

    format_version: int = EXPORT_FORMAT_VERSION
    score: float = Field(ge=0, le=1)
    iou: float = Field(ge=0, le=1)
    top: int = Field(ge=1, le=100_000)
    precision: FilePrecision
    outputs: tuple[Annotated[str, Field(max_length=50)], ...]
    caution: Annotated[str, Field(max_length=300)] | None = None


Info = TypeVar("Info", bound=CheckpointInfo)


def read_info(path: Path) -> CheckpointInfo:
    """Read a checkpoint's metadata without its weights.

    Raises:
        CheckpointError: if the file is missing, damaged, not BlitzNet's, or of a newer format.
    """
    metadata, _ = read_header(path)
    if STATE_KEY in metadata:
        raise CheckpointError(f"{path} is the state of a run, not a network; give the run's folder")
    if METADATA_KEY not in metadata:
        raise CheckpointError(f"{path} is a safetensors file, but not from BlitzNet")
    return parse_info(path, metadata[METADATA_KEY], CheckpointInfo, CHECKPOINT_FORMAT_VERSION)


def read_exported_file(path: Path) -> bytes:
    """Read an exported file, which must be self-contained.

    Raises:
        CheckpointError: if it cannot be read, stores tensors in other files, or has infinite or
            NaN weights, with which a network finds nothing.
    """
    try:
        content = read_regular(path, _MAX_EXPORTED)
    except OSError as error:
        reason = error.strerror or error
        raise CheckpointError(f"{path} cannot be read ({reason})") from None
    if path.suffix == ".onnx" and _EXTERNAL_DATA.search(content):
        raise CheckpointError(
            f"{path} keeps its weights in another file, which blitznet does not open; "
            "export it as one file"
        )
    if path.suffix == ".onnx":
        with suppress(IndexError, TypeError):  # damaged; the engine will raise an error
            for name, weights in _onnx_weights(memoryview(content)):
                require_finite(path, name, bool(np.isfinite(weights).all()))
    return content


def require_finite(path: Path, name: str, is_finite: bool) -> None:
    """Raise CheckpointError if a tensor of a file is not finite."""
    if not is_finite:
        raise CheckpointError(
            f"{path}: {shown(name)} holds infinite or NaN values; use an earlier checkpoint"
        )


def _onnx_weights(model: memoryview) -> Iterator[tuple[str, np.ndarray]]:
    """Names and values of the floating-point initializers."""
    graphs = (graph for key, graph in _protobuf_fields(model) if key == _GRAPH)
    for graph in graphs:
        for key, tensor in _protobuf_fields(graph):
            if key != _INITIALIZER:
                continue
            fields = dict(_protobuf_fields(tensor))
            name = bytes(fields.get(_NAME, b"")).decode(errors="replace")
            kinds = {_FLOAT_DATA: "<f4", _DOUBLE_DATA: "<f8"}
            if (kind := _FLOAT_TYPES.get(fields.get(_DATA_TYPE, 0))) is not None:
                kinds[_RAW_DATA] = kind
            for field, dtype in kinds.items():
                values = fields.get(field, b"")
                yield name, np.frombuffer(values, dtype, len(values) // np.dtype(dtype).itemsize)


def _protobuf_fields(message: memoryview) -> Iterator[tuple[int, Any]]:
    """Field numbers and values of a protobuf message; values are integers or raw bytes."""
    position = 0
    while position < len(message):
        key, position = _read_varint(message, position)
        value: Any
        if key & 7 == 0:
            value, position = _read_varint(message, position)
        else:
            length = {1: 8, 5: 4}.get(key & 7)
            if length is None:
                length, position = _read_varint(message, position)
            value, position = message[position : position + length], position + length
        yield key >> 3, value


def _read_varint(message: memoryview, position: int) -> tuple[int, int]:
    """The number at a position, and the position after it."""
    number = shift = 0
    while shift < 64:
        byte = message[position]
        number |= (byte & 127) << shift
        position, shift = position + 1, shift + 7
        if byte < 128:
            return number, position
    raise IndexError("a number of more than ten bytes")


def parse_export_info(path: Path, text: str | None) -> ExportInfo:
    """Parse an exported file's metadata, the text under METADATA_KEY.

    Raises:
        CheckpointError: if it is missing, damaged, or of a newer format.
    """
    if not text:
        raise CheckpointError(
            f"{path} was not made by blitznet export (its metadata has no {METADATA_KEY!r}); "
            "give a file that was, or a checkpoint"
        )
    return parse_info(path, text, ExportInfo, EXPORT_FORMAT_VERSION)


def parse_info(path: Path, text: str, kind: type[Info], newest: int) -> Info:
    """Parse metadata from JSON; `newest` is the highest format version that can be read."""
    try:
        content = parse_json(text, path, CheckpointError)
        version = content["format_version"]
        if version > newest:
            raise CheckpointError(
                f"{path} has format {version}, this version of blitznet reads up to {newest}; "
                "install a newer one"
            )
        info = kind.model_validate(content)
    except ValidationError as error:
        raise CheckpointError(f"{path}: damaged description: {first_problem(error)}") from None
    except (KeyError, TypeError) as error:
        raise CheckpointError(f"{path}: damaged description: {error!r}") from None
    if len(info.names) != info.model.num_classes:
        raise CheckpointError(
            f"{path} names {len(info.names)} classes for a network of {info.model.num_classes}"
        )
    return info


def read_header(path: Path) -> tuple[dict[str, str], dict[str, tuple[int, ...]]]:
    """Read the header of a safetensors file: eight bytes of length, then JSON.

    Returns:
        Metadata as text by key, and shapes of the tensors by name.

    Raises:
        CheckpointError: if the file is missing or damaged, or its size does not match the header.
    """
    try:
        file, size = open_regular(path, _MAX_FILE)
        with file:
            begin = file.read(8)
            if begin.startswith(_TORCH_SAVE):
                raise ValueError("a file of torch.save, which is never loaded")
            (length,) = struct.unpack("<Q", begin)
            if length > _MAX_HEADER:
                raise ValueError("no header at its beginning")
            header = parse_json(file.read(length).decode(), path, CheckpointError)
        metadata = header.pop("__metadata__", None) or {}
        shapes = {str(name): tuple(tensor["shape"]) for name, tensor in header.items()}
        expected = max((tensor["data_offsets"][1] for tensor in header.values()), default=0)
        if size - 8 - length != expected:
            raise ValueError(f"{size - 8 - length} bytes of weights instead of {expected}")
        return {str(key): str(value) for key, value in metadata.items()}, shapes
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist") from None
    except (OSError, struct.error, ValueError, LookupError, TypeError, AttributeError) as error:
        reason = getattr(error, "strerror", None) or cut(str(error))
        raise CheckpointError(
            f"{path} is not a readable safetensors file ({reason}); it may be truncated or "
            "of another format"
        ) from None


@dataclass(frozen=True)
class NetworkFiles:
    """The files of one network; at least one is not None.

    Attributes:
        exported: NAME.onnx or NAME.xml, for every engine except PyTorch.
        checkpoint: NAME.safetensors, for PyTorch and for further training.
    """

    exported: Path | None
    checkpoint: Path | None

    @property
    def path(self) -> Path:
        """The exported file, or else the checkpoint."""
        return self.exported or self.require_checkpoint()

    def require_checkpoint(self) -> Path:
        """Return the checkpoint.

        Raises:
            InputError: if there is only an exported file.
        """
        if self.checkpoint is None:
            raise InputError(f"{self.exported} is an exported file; give a checkpoint for PyTorch")
        return self.checkpoint


def bundled_networks() -> dict[str, NetworkFiles]:
    """Networks inside the package, by name."""
    folder = Path(str(files("blitznet") / "weights"))
    found = {path.name: path for path in folder.glob("*.*") if path.suffix in _SUFFIXES}
    names = sorted({path.stem for path in found.values()})
    return {
        name: NetworkFiles(*(found.get(name + suffix) for suffix in _SUFFIXES)) for name in names
    }


def find_network(name_or_path: str | os.PathLike[str] | None = None) -> NetworkFiles:
    """Find the files of a network.

    Args:
        name_or_path: a bundled network's name, a file, or a run's folder, for its final network or
            else its best or last checkpoint; None = the default bundled network.

    Raises:
        CheckpointError: if there is no such network; the message lists the bundled names.
    """
    name = os.fspath(DEFAULT_MODEL if name_or_path is None else name_or_path)
    bundled = bundled_networks()
    if name in bundled:
        return bundled[name]
    path = Path(name)
    if path.is_dir():
        return _network_of_run(path)
    if not path.is_file():
        raise CheckpointError(
            f"no network or file is called {shown(name)}; bundled: {', '.join(bundled) or 'none'}"
        )
    if path.suffix in (".onnx", ".xml"):
        return NetworkFiles(path, None)
    return NetworkFiles(None, path)


def _network_of_run(folder: Path) -> NetworkFiles:
    for stem in ("model", "best", "last"):
        found = (folder / f"{stem}{suffix}" for suffix in _SUFFIXES)
        exported, checkpoint = (path if path.is_file() else None for path in found)
        if exported or checkpoint:
            return NetworkFiles(exported, checkpoint)
    if (folder / "run.json").is_file():
        raise CheckpointError(
            f"{folder} is a run without a network yet; continue it with blitznet train --resume "
            f"{folder}"
        )
    raise CheckpointError(
        f"{folder}: this folder holds no network (model.onnx, model.safetensors, best.safetensors "
        "or last.safetensors); give a run's folder, a file, or a bundled network's name"
    )


def find_checkpoint(name_or_path: str) -> Path:
    """Find the checkpoint of a network; see `find_network`.

    Raises:
        CheckpointError: if there is no such network; the message lists the bundled names.
        InputError: if there is only an exported file.
    """
    return find_network(name_or_path).require_checkpoint()
