"""Write a network as OpenVINO files: NAME.xml, and NAME.bin with the weights."""

import contextlib
import io
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from blitznet.errors import InputError, cut
from blitznet.evenly_spaced import evenly_spaced
from blitznet.exporting.images import described_images, images_at_hand
from blitznet.exporting.onnx_file import RAW_DETECTION_OUTPUTS
from blitznet.exporting.parity import TOLERANCES, compare_file, problems
from blitznet.extras import require
from blitznet.files.result_folder import temporary_folder
from blitznet.inference.engines.choose import open_engine
from blitznet.inference.engines.openvino_engine import openvino_metadata, read_exported
from blitznet.model_files import METADATA_KEY, ExportInfo, parse_export_info

if TYPE_CHECKING:
    import openvino

# Default of NNCF; more images make no measurable difference.
CALIBRATION_IMAGES = 300
COMPARED_IMAGES = 16  # of the calibration images


def write_openvino(path: Path, onnx_file: Path, calibrate: Path | None = None) -> str | None:
    """Convert an ONNX file to OpenVINO's format, in the same precision or in int8.

    Args:
        path: NAME.xml; NAME.bin is written next to it.
        onnx_file: a file from `export_onnx`.
        calibrate: data description for int8, which quantizes weights and activations of
            convolutions; activation ranges come from the split `train`, or else the first one.

    Returns:
        `ExportInfo.caution` of the file.

    Raises:
        InputError: if NNCF is missing, the images cannot be used, or a file cannot be written.
    """
    if calibrate is not None:
        require("nncf", "quantize", "int8")
    model = read_exported(onnx_file)
    info = parse_export_info(onnx_file, openvino_metadata(model))
    if calibrate is not None:
        # Decoding stays in float32: eight bits cannot resolve a position within 300 pixels.
        spare = _names_after(model, {*RAW_DETECTION_OUTPUTS, "seg_logits"})
        size = info.model.image_size
        pixels = described_images(calibrate, None, CALIBRATION_IMAGES, size)
        model = _quantize(model, [image[None] for image in pixels], spare)
        info = info.model_copy(update={"precision": "int8"})
        with temporary_folder(path.parent) as folder:
            _save(folder / path.name, model, info)
            caution = _compare(folder / path.name, onnx_file, pixels)
        info = info.model_copy(update={"caution": caution})
    _save(path, model, info)
    return info.caution


def _save(path: Path, model: "openvino.Model", info: ExportInfo) -> None:
    import openvino

    model.set_rt_info(info.model_dump_json(), [METADATA_KEY])
    try:
        openvino.save_model(model, path, compress_to_fp16=False)
    except RuntimeError as error:  # such as a full disk
        raise InputError(f"{path}: cannot be written ({cut(str(error))})") from error


def _compare(path: Path, onnx_file: Path, pixels: Sequence[np.ndarray]) -> str | None:
    """Compute `ExportInfo.caution` of an int8 file on calibration images and on photos.

    Photos are left out if the network finds hardly anything there: it is for other images.
    """
    chosen = [pixels[index] for index in evenly_spaced(len(pixels), COMPARED_IMAGES)]
    photos = images_at_hand(len(pixels[0]))
    with contextlib.closing(open_engine(onnx_file, "openvino", "cpu")) as reference:
        for images, where, least in ((chosen, "calibration images", 0), (photos, "photos", 5)):
            parity = compare_file(path, reference, images)
            shown = parity.matched[0].objects if parity.matched else 0
            found = problems(parity, TOLERANCES["int8"]) if shown >= least else []
            if found:
                return (
                    f"int8 differs from float32: on {len(images)} {where}, {found[0]}; calibrate "
                    "it with images like those it will see, or use float32"
                )
    return None


def _quantize(
    model: "openvino.Model", pixels: Sequence[np.ndarray], spare: Sequence[str]
) -> "openvino.Model":
    """Quantize a trained network to int8.

    Args:
        model: an exported network; takes pixels.
        pixels: calibration images, (1, S, S, 3) uint8 each.
        spare: names of operations to leave in float32.
    """
    # NNCF imports it to compile extensions that we do not use, and it warns that CUDA is missing.
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    import nncf

    nncf.set_log_level(logging.ERROR)
    with contextlib.redirect_stdout(io.StringIO()):  # progress bars
        quantized: openvino.Model = nncf.quantize(
            model,
            nncf.Dataset(pixels),
            # ReLU's outputs are unsigned, those of linear bottlenecks are signed.
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(pixels),
            # Bias correction lowers the accuracy of trained networks: docs/engines.md.
            advanced_parameters=nncf.AdvancedQuantizationParameters(disable_bias_correction=True),
            ignored_scope=nncf.IgnoredScope(names=list(spare), validate=False),
        )
    return quantized


def _names_after(model: "openvino.Model", tensors: set[str]) -> list[str]:
    """Names of all operations that depend on these tensors."""
    open_outputs = [
        output
        for operation in model.get_ops()
        for output in operation.outputs()
        if output.get_names() & tensors
    ]
    names: set[str] = set()
    while open_outputs:
        for target in open_outputs.pop().get_target_inputs():
            operation = target.get_node()
            if operation.get_friendly_name() not in names:
                names.add(operation.get_friendly_name())
                open_outputs += operation.outputs()
    return sorted(names)
