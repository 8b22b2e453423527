"""A network as an OpenVINO file: NAME.xml, and NAME.bin with the weights."""

import contextlib
import io
import logging
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from blitznet.data.description import read_description
from blitznet.data.source import LabelSource, locate
from blitznet.evenly_spaced import evenly_spaced
from blitznet.exporting.exported_network import RAW_DETECTION_OUTPUTS
from blitznet.extras import require
from blitznet.image import resize_to_input
from blitznet.inference.engines.openvino_engine import openvino_metadata, read_exported
from blitznet.model_files import METADATA_KEY, ExportInfo, parse_export_info

if TYPE_CHECKING:
    import openvino

# NNCF's own default; more change nothing that can be measured.
CALIBRATION_IMAGES = 300


def write_openvino(path: Path, onnx_file: Path) -> None:
    """Write what an ONNX file holds, in its precision.

    Args:
        path: NAME.xml; NAME.bin appears beside it.
        onnx_file: of `export_onnx`.
    """
    model = read_exported(onnx_file)
    _save(model, parse_export_info(onnx_file, openvino_metadata(model)), path)


def write_int8(path: Path, onnx_file: Path, calibrate: Path) -> None:
    """Write what an ONNX file holds with weights and activations of convolutions in eight bits.

    Args:
        path: NAME.xml; NAME.bin appears beside it.
        onnx_file: of `export_onnx`.
        calibrate: a data description, whose training images (or those of its first split) tell
            how large activations get.

    Raises:
        InputError: if NNCF is missing or the images cannot be used.
    """
    require("nncf", "quantize", "int8")
    model = read_exported(onnx_file)
    info = parse_export_info(onnx_file, openvino_metadata(model))
    # Behind the network's outputs, eight bits cannot say where in 300 pixels a box ends.
    after = _names_after(model, (*RAW_DETECTION_OUTPUTS, "seg_logits"))
    pixels = list(_calibration_pixels(calibrate, info.model.image_size))
    quantized = _quantize(model, pixels, after)
    _save(quantized, info.model_copy(update={"precision": "int8"}), path)


def _save(model: "openvino.Model", info: ExportInfo, path: Path) -> None:
    import openvino

    model.set_rt_info(info.model_dump_json(), [METADATA_KEY])
    openvino.save_model(model, path, compress_to_fp16=False)


def _quantize(
    model: "openvino.Model", pixels: Sequence[np.ndarray], spare: Sequence[str]
) -> "openvino.Model":
    """Post-training quantization.

    Args:
        model: takes pixels.
        pixels: (1, S, S, 3) uint8 each.
        spare: names of operations to leave in float32.
    """
    # NNCF imports it to compile what is not used here, and it misses CUDA.
    logging.getLogger("torch.utils.cpp_extension").setLevel(logging.ERROR)
    import nncf

    nncf.set_log_level(logging.ERROR)
    with contextlib.redirect_stdout(io.StringIO()):  # progress bars
        quantized: openvino.Model = nncf.quantize(
            model,
            nncf.Dataset(pixels),
            # ReLU's results have no sign, those of linear bottlenecks do.
            preset=nncf.QuantizationPreset.MIXED,
            subset_size=len(pixels),
            # It costs a trained network more than it gives back: docs/engines.md.
            advanced_parameters=nncf.AdvancedQuantizationParameters(disable_bias_correction=True),
            ignored_scope=nncf.IgnoredScope(names=list(spare), validate=False),
        )
    return quantized


def _calibration_pixels(calibrate: Path, size: int) -> Iterator[np.ndarray]:
    """Images spread evenly over the split, as the network gets to see them."""
    description = read_description(calibrate)
    split = "train" if "train" in description.splits else next(iter(description.splits))
    sources: list[LabelSource] = description.open_split(split)
    for position in evenly_spaced(sum(map(len, sources)), CALIBRATION_IMAGES):
        source, index = locate(sources, position)
        yield resize_to_input(Image.fromarray(source.read(index).image), size)[None]


def _names_after(model: "openvino.Model", tensors: Sequence[str]) -> list[str]:
    """Of all operations that use these tensors, or what is made of them."""
    open_outputs = [
        output
        for operation in model.get_ops()
        for output in operation.outputs()
        if output.get_names() & set(tensors)
    ]
    names: set[str] = set()
    while open_outputs:
        for target in open_outputs.pop().get_target_inputs():
            operation = target.get_node()
            if operation.get_friendly_name() not in names:
                names.add(operation.get_friendly_name())
                open_outputs += operation.outputs()
    return sorted(names)
