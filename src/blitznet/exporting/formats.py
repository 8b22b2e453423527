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


def require_export(
    out: str | os.PathLike[str] | None,
    name: str,
    format_name: str,
    precision: str,
    calibrate: Path | None,
    overwrite: bool,
) -> tuple[Path, FilePrecision]:
    """Check the arguments of `export` and the packages that it needs.

    Args:
        out: the user's choice; None = NAME.onnx in the current folder.
        name: name of the network.
        format_name: a format of FORMATS.
        precision: a precision of that format, part of the default name.
        calibrate: data description for int8.
        overwrite: whether the file may exist.

    Returns:
        The path to write to, and the precision.

    Raises:
        InputError: if the format or precision does not exist, a package is missing, the file
            exists, or its suffix is not the format's.
    """
    if format_name not in FORMATS:
        raise InputError(f"no format is called {format_name!r}; choose from {', '.join(FORMATS)}")
    (suffix, *_), precisions = FORMATS[format_name]
    known = next((known for known in precisions if known == precision), None)
    if known is None:
        raise InputError(
            f"{format_name} files have no precision {precision!r}; they have "
            f"{', '.join(precisions)}"
        )
    if (calibrate is None) == (known == "int8"):
        raise InputError(
            "int8 is calibrated with images like those it will see; add --calibrate DATA.yaml"
            if calibrate is None
            else f"--calibrate is for int8, not for {precision}; leave it out"
        )
    require_training(f"export to {format_name}")
    if format_name == "openvino":
        require("openvino", "openvino", "export to openvino")
    if known == "int8":
        require("nncf", "quantize", "int8")
    if out is None:
        out = f"{file_name(name)}{'' if precision == 'fp32' else f'-{precision}'}{suffix}"
    path = Path(out)
    if path.suffix != suffix:
        raise InputError(
            f"{path}: {format_name} files end in {suffix}; call it {path.with_suffix(suffix)}"
        )
    if path.exists() and not overwrite:
        raise InputError(f"{path} already exists; give another --out FILE, or --overwrite")
    return path, known
