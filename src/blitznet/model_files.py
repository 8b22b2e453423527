"""The files of networks: which are bundled, and what a file says of itself. Needs no PyTorch."""

import os
import re
import struct
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from importlib.resources import files
from pathlib import Path
from typing import Annotated, Any, Literal, NamedTuple, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from blitznet.errors import CheckpointError, InputError, cut, first_problem, shown
from blitznet.files.regular_file import MEGABYTE, open_regular, read_regular
from blitznet.files.text_files import parse_json
from blitznet.model_info import ModelConfig

CHECKPOINT_FORMAT_VERSION = 1
EXPORT_FORMAT_VERSION = 1
METADATA_KEY = "blitznet"

FilePrecision = Literal["fp32", "fp16", "int8"]

_SUFFIXES = (".onnx", ".safetensors")

_MAX_FILE = 16 * 1024 * MEGABYTE
_MAX_HEADER = 16 * MEGABYTE
_MAX_EXPORTED = 2048 * MEGABYTE  # of any file that protobuf reads

# The key of ONNX's external data as protobuf writes it: its length, then the word.
_EXTERNAL_DATA = re.compile(rb"(?:\x08|\x88\x80*\x00)location")

# Fields of ONNX's messages: onnx.proto3.
_GRAPH, _INITIALIZER = 7, 5
_DATA_TYPE, _FLOAT_DATA, _NAME, _RAW_DATA, _DOUBLE_DATA = 2, 4, 8, 9, 10
_FLOAT_TYPES = {1: "<f4", 10: "<f2", 11: "<f8"}

ClassName = Annotated[str, Field(min_length=1, max_length=200)]


class CheckpointInfo(BaseModel):
    """What a checkpoint says of itself.

    Attributes:
        format_version: of the file.
        model: architecture, input size, normalisation and anchors.
        names: class names, background first.
        supervised_boxes: classes whose boxes the training data labelled; None = all. Nothing is
            shown of the others, nor of a head whose list is empty.
        supervised_masks: classes whose pixels it labelled, background left out; likewise.
        metrics: measured figures by data set, fractions.
        training: how it came about, for people: data, recipe's name, steps, minutes, hardware, ...
        recipe: all fields of the recipe, to train it again.
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

    Normalisation is in the file, which takes pixels; `model.mean` and `model.std` tell which.

    Attributes:
        format_version: of exported files.
        score: minimum score of the file's objects, inclusive.
        iou: overlap above which the weaker of two boxes of a class is dropped.
        top: number of rows of the outputs.
        precision: precision of the weights.
        outputs: names of the outputs, in order.
        caution: of int8, if it differs from float32 more than its precision allows: where, and by
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
    """What a checkpoint says of itself, without reading its weights.

    Raises:
        CheckpointError: if the file is missing, damaged, foreign, or of a newer format.
    """
    metadata = read_header(path).metadata
    if METADATA_KEY not in metadata:
        raise CheckpointError(f"{path} is a safetensors file, but not of BlitzNet")
    return parse_info(path, metadata[METADATA_KEY], CheckpointInfo, CHECKPOINT_FORMAT_VERSION)


def read_exported_file(path: Path) -> bytes:
    """The content of an exported file, which has to be complete in itself.

    Raises:
        CheckpointError: if it cannot be read, keeps tensors in other files, or has weights that are
            infinite or NaN, with which a network finds nothing.
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
        with suppress(IndexError, TypeError):  # damaged, which engines say in their own words
            for name, weights in _onnx_weights(memoryview(content)):
                require_finite(path, name, bool(np.isfinite(weights).all()))
    return content


def require_finite(path: Path, name: str, is_finite: bool) -> None:
    """Raises CheckpointError for a tensor of a file that is not."""
    if not is_finite:
        raise CheckpointError(
            f"{path}: {shown(name)} holds infinite or NaN values; take an earlier checkpoint"
        )


def _onnx_weights(model: memoryview) -> Iterator[tuple[str, np.ndarray]]:
    """Names and values of the initializers that are floating-point numbers."""
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
    """Numbers and values of the fields of a protobuf message: integers, and bytes of the others."""
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
    """The number at a position, and the position behind it."""
    number = shift = 0
    while shift < 64:
        byte = message[position]
        number |= (byte & 127) << shift
        position, shift = position + 1, shift + 7
        if byte < 128:
            return number, position
    raise IndexError("a number of more than ten bytes")


def parse_export_info(path: Path, text: str | None) -> ExportInfo:
    """What an exported file has under METADATA_KEY.

    Raises:
        CheckpointError: if it has nothing there, or nothing that this version understands.
    """
    if not text:
        raise CheckpointError(
            f"{path} was not made by blitznet export (its metadata has no {METADATA_KEY!r}); "
            "give a file that was, or a checkpoint"
        )
    return parse_info(path, text, ExportInfo, EXPORT_FORMAT_VERSION)


def parse_info(path: Path, text: str, kind: type[Info], newest: int) -> Info:
    """JSON to a description; `newest` is the highest format version that can be read."""
    try:
        content = parse_json(text, path, CheckpointError)
        version = content["format_version"]
        if version > newest:
            raise CheckpointError(
                f"{path} has format {version}, this version of blitznet reads up to {newest}; "
                "upgrade with pip install -U blitznet"
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


class FileHeader(NamedTuple):
    """What a safetensors file says before its tensors.

    Attributes:
        metadata: text by key.
        shapes: of the tensors, by name.
    """

    metadata: dict[str, str]
    shapes: dict[str, tuple[int, ...]]


def read_header(path: Path) -> FileHeader:
    """The header of a safetensors file: eight bytes of length, then JSON.

    Raises:
        CheckpointError: if the file is missing, damaged, or shorter or longer than it says.
    """
    try:
        file, size = open_regular(path, _MAX_FILE)
        with file:
            (length,) = struct.unpack("<Q", file.read(8))
            if length > _MAX_HEADER:
                raise ValueError(f"a header of {length} bytes")
            header = parse_json(file.read(length).decode(), path, CheckpointError)
        metadata = header.pop("__metadata__", None) or {}
        shapes = {str(name): tuple(tensor["shape"]) for name, tensor in header.items()}
        expected = max((tensor["data_offsets"][1] for tensor in header.values()), default=0)
        if size - 8 - length != expected:
            raise ValueError(f"{size - 8 - length} bytes of weights instead of {expected}")
        return FileHeader({str(key): str(value) for key, value in metadata.items()}, shapes)
    except FileNotFoundError:
        raise CheckpointError(f"{path} does not exist") from None
    except (OSError, struct.error, ValueError, LookupError, TypeError, AttributeError) as error:
        reason = getattr(error, "strerror", None) or cut(str(error))
        raise CheckpointError(
            f"{path} is not a readable safetensors file ({reason}); it may be truncated or "
            "of another kind"
        ) from None


@dataclass(frozen=True)
class NetworkFiles:
    """The files of one network; at least one of the two is there.

    Attributes:
        exported: NAME.onnx or NAME.xml, which every engine but PyTorch runs.
        checkpoint: NAME.safetensors, which PyTorch runs and trains further.
    """

    exported: Path | None
    checkpoint: Path | None

    def require_checkpoint(self) -> Path:
        """The checkpoint.

        Raises:
            InputError: if there is only an exported file.
        """
        if self.checkpoint is None:
            raise InputError(f"{self.exported} is an exported file; give a checkpoint for PyTorch")
        return self.checkpoint


def bundled_networks() -> dict[str, NetworkFiles]:
    """What comes with the package, by name."""
    folder = Path(str(files("blitznet") / "weights"))
    found = {path.name: path for path in folder.glob("*.*") if path.suffix in _SUFFIXES}
    names = sorted({path.stem for path in found.values()})
    return {
        name: NetworkFiles(*(found.get(name + suffix) for suffix in _SUFFIXES)) for name in names
    }


def default_model() -> str:
    """The bundled network that is used when none is named.

    Raises:
        CheckpointError: if this installation has none.
    """
    bundled = bundled_networks()
    names = [name for name in ("blitznet300", "blitznet300-mobile") if name in bundled]
    if not names:
        raise CheckpointError("this installation bundles no network; give one with --model FILE")
    return names[0]


def find_network(name_or_path: str | os.PathLike[str] | None = None) -> NetworkFiles:
    """The files of a bundled network, of a training run, or a file.

    Args:
        name_or_path: a name, a file, or the folder of a run: its final network, else the best or
            the last one that it saved; None = the best bundled network.

    Raises:
        CheckpointError: if there is none; the message lists the names.
    """
    name = default_model() if name_or_path is None else os.fspath(name_or_path)
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
    raise CheckpointError(
        f"{folder}: this folder holds no network (model.onnx, model.safetensors, best.safetensors "
        "or last.safetensors); give a run's folder, a file, or a bundled network's name"
    )


def find_checkpoint(name_or_path: str) -> Path:
    """A bundled name, or the path of a checkpoint, to the file.

    Raises:
        CheckpointError: if it is neither; the text lists the names.
        InputError: if it is an exported file.
    """
    return find_network(name_or_path).require_checkpoint()
