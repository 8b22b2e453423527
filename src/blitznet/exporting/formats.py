"""The formats and precisions of exported files. Needs no PyTorch."""

import os
from pathlib import Path

from blitznet.errors import InputError
from blitznet.extras import require
from blitznet.files.plain_names import file_name
from blitznet.model_files import FilePrecision

# Format to the suffixes of its files, the one that is opened first, and its precisions.
FORMATS: dict[str, tuple[tuple[str, ...], tuple[FilePrecision, ...]]] = {
    "onnx": ((".onnx",), ("fp32", "fp16")),
    "openvino": ((".xml", ".bin"), ("fp32", "fp16", "int8")),
}


def require_format(
    name: str, precision: str, calibrate: Path | None
) -> tuple[tuple[str, ...], FilePrecision]:
    """Suffixes and precision, with everything there that it takes to write them.

    Args:
        name: of FORMATS.
        precision: of those that the format has.
        calibrate: data description for int8.

    Raises:
        InputError: if there is no such format or precision, or something is missing.
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
            "int8 is calibrated with images like those that it will see; add --calibrate DATA.yaml"
            if calibrate is None
            else f"--calibrate is for int8, not for {precision}; leave it out"
        )
    for module in ("onnx", "onnxscript"):
        require(module, "train", f"export to {name}")
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
    """The file to write.

    Args:
        out: what the user named; None = NAME.onnx in the current folder.
        name: of the network.
        format_name: of FORMATS.
        precision: of the weights, part of the usual name.
        overwrite: whether the file may be there.

    Raises:
        InputError: if it is there already, or has another suffix than the format.
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
        raise InputError(f"{path} is there already; give another --out FILE, or --overwrite")
    return path
