"""The formats of exported files."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from blitznet.errors import InputError
from blitznet.export.limits import Limits
from blitznet.extras import require
from blitznet.model.blitznet import BlitzNet
from blitznet.model_files import ExportInfo, Precision

RawOutputs = Callable[[Path, np.ndarray], dict[str, np.ndarray]]


@dataclass(frozen=True)
class Format:
    """One way to write a network.

    Attributes:
        suffixes: of its files; the first one is the one that is opened.
        precisions: that it may have.
        packages: module and extra of what it takes to write it.
    """

    suffixes: tuple[str, ...]
    precisions: tuple[Precision, ...]
    packages: tuple[tuple[str, str], ...]


_ONNX = (("onnx", "onnx"), ("onnxscript", "onnx"), ("onnxruntime", "onnx"))

FORMATS: dict[str, Format] = {
    "onnx": Format((".onnx",), ("fp32",), _ONNX),
    "openvino": Format(
        (".xml", ".bin"), ("fp32", "fp16", "int8"), (*_ONNX, ("openvino", "openvino"))
    ),
    "torchscript": Format((".torchscript",), ("fp32",), ()),
}


def choose_format(name: str, precision: str) -> tuple[Format, Precision]:
    """A format by name, with everything there that it needs.

    Raises:
        InputError: if it does not exist, has no such precision, or a package is missing.
    """
    if name not in FORMATS:
        raise InputError(f"no format is called {name!r}; there are {', '.join(FORMATS)}")
    chosen = FORMATS[name]
    for known in chosen.precisions:
        if known == precision:
            break
    else:
        fitting = [other for other, form in FORMATS.items() if precision in form.precisions]
        there_are = f"they have {', '.join(chosen.precisions)}"
        advice = f"; use --format {fitting[0]}" if fitting else ""
        raise InputError(f"{name} files have no precision {precision!r}; {there_are}{advice}")
    for module, extra in chosen.packages:
        require(module, extra, f"export to {name}")
    if known == "int8":
        require("nncf", "quantize", "int8")
    return chosen, known


def write_file(
    name: str,
    path: Path,
    network: BlitzNet,
    limits: Limits,
    info: ExportInfo,
    calibration: Iterable[np.ndarray] = (),
) -> RawOutputs:
    """Write a network.

    Args:
        name: of the format.
        path: with the first of its suffixes.
        network: in evaluation mode, on the CPU.
        limits: of suppression.
        info: for the metadata.
        calibration: for int8, (1, S, S, 3) uint8 each.

    Returns:
        What computes the raw outputs of such a file.
    """
    if name == "torchscript":
        from blitznet.export.torchscript_file import raw_torchscript_outputs, write_torchscript

        write_torchscript(path, network, limits, info)
        return raw_torchscript_outputs
    from blitznet.export.onnx_file import raw_onnx_outputs, write_onnx

    onnx_file = path.with_suffix(".onnx")
    write_onnx(onnx_file, network, limits, info)
    if name == "onnx":
        return raw_onnx_outputs
    from blitznet.export.openvino_file import raw_openvino_outputs, write_openvino

    write_openvino(path, onnx_file, info, calibration)
    onnx_file.unlink()
    return raw_openvino_outputs
