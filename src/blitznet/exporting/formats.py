"""Formats and precisions of exported files. Does not need PyTorch."""

import os
from pathlib import Path

from blitznet.errors import InputError
from blitznet.extras import require, require_training
from blitznet.files.plain_names import file_name
from blitznet.model_files import FilePrecision

# By format: the suffixes of its files, starting with the one that users open, and its precisions.
FORMATS: dict[str, tuple[tuple[str, ...], tuple[FilePrecision, ...]]] = {
    "onnx": ((".onnx",), ("fp32", "fp16")),
    "openvino": ((".xml", ".bin"), ("fp32", "fp16", "int8")),
}


def require_format(
    name: str, precision: str, calibrate: Path | None
) -> tuple[tuple[str, ...], FilePrecision]:
    """Check the format and what it requires; return the suffixes of its files and the precision.

    Args:
        name: a format of FORMATS.
        precision: a precision of that format.
        calibrate: data description for int8.

    Raises:
        InputError: if the format or precision does not exist, or a package is missing.
    """
    if name not in FORMATS:
        raise InputError(f"no format is called {name!r}; choose from {', '.join(FORMATS)}")
    suffixes, precisions = FORMATS[name]
    known = next((known for known in precisions if known == precision), None)
    if known is None:
        raise InputError(
            f"{name} files have no precision {precision!r}; they have {', '.join(precisions)}"
        )
    if (calibrate is None) == (known == "int8"):
        raise InputError(
            "int8 is calibrated with images like those it will see; add --calibrate DATA.yaml"
            if calibrate is None
            else f"--calibrate is for int8, not for {precision}; leave it out"
        )
    require_training(f"export to {name}")
    if name == "openvino":
        require("openvino", "openvino", "export to openvino")
    if known == "int8":
        require("nncf", "quantize", "int8")
    return suffixes, known


def output_path(
    out: str | os.PathLike[str] | None,
    name: str,
    format_name: str,
    precision: str,
    overwrite: bool = False,
) -> Path:
    """Choose the path to write to.

    Args:
        out: the user's choice; None = NAME.onnx in the current folder.
        name: name of the network.
        format_name: a format of FORMATS.
        precision: precision of the weights, part of the default name.
        overwrite: whether the file may exist.

    Raises:
        InputError: if the file exists, or its suffix is not the format's.
    """
    suffix = FORMATS[format_name][0][0]
    if out is None:
        out = f"{file_name(name)}{'' if precision == 'fp32' else f'-{precision}'}{suffix}"
    path = Path(out)
    if path.suffix != suffix:
        raise InputError(
            f"{path}: {format_name} files end in {suffix}; call it {path.with_suffix(suffix)}"
        )
    if path.exists() and not overwrite:
        raise InputError(f"{path} already exists; give another --out FILE, or --overwrite")
    return path
