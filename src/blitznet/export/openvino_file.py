"""A network as an OpenVINO file: NAME.xml, and NAME.bin with the weights."""

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from blitznet.export.onnx_file import INPUT_NAME
from blitznet.export.self_contained import RAW_DETECTION_OUTPUTS
from blitznet.inference.engines.exported import follow_onnx, openvino_hints, openvino_metadata
from blitznet.inference.engines.pixel_network import output_names
from blitznet.inference.engines.quantization import quantize_converted
from blitznet.model_files import METADATA_KEY, ExportInfo, parse_export_info

if TYPE_CHECKING:
    import openvino


def write_openvino(
    path: Path, onnx_file: Path, info: ExportInfo, calibration: Iterable[np.ndarray] = ()
) -> None:
    """Write what an ONNX file holds.

    Args:
        path: NAME.xml; NAME.bin appears beside it.
        onnx_file: of `write_onnx`.
        info: goes into the metadata; its precision is that of the weights: fp16 those of
            convolutions alone, int8 with their inputs, too.
        calibration: (1, S, S, 3) uint8 each; whose ranges of values int8 takes.
    """
    import openvino

    model = openvino.Core().read_model(onnx_file)
    follow_onnx(model, info.iou)
    if info.precision == "fp16":
        _halve_weights(model)
    elif info.precision == "int8":
        # Behind the network's outputs, eight bits cannot say where in 300 pixels a box ends.
        after = _names_after(model, (*RAW_DETECTION_OUTPUTS, "seg_logits"))
        model = quantize_converted(model, calibration, spare=after)
    model.set_rt_info(info.model_dump_json(), [METADATA_KEY])
    openvino.save_model(model, path, compress_to_fp16=False)


def raw_openvino_outputs(path: Path, pixels: np.ndarray) -> dict[str, np.ndarray]:
    """See `raw_onnx_outputs`; computed in the precision in which the file would be run."""
    import openvino

    core = openvino.Core()
    model = core.read_model(path)
    info = parse_export_info(path, openvino_metadata(model))
    names = output_names(info.model)
    model.add_outputs([name for name in names if name in RAW_DETECTION_OUTPUTS])
    results = core.compile_model(model, "CPU", openvino_hints(info))({INPUT_NAME: pixels})
    return {name: results[name] for name in names}


def _halve_weights(model: "openvino.Model") -> None:
    """Store the weights of convolutions as float16; anchors, in pixels, need all their digits."""
    from openvino import opset13 as operators

    for operation in model.get_ops():
        if operation.get_type_name() not in ("Convolution", "GroupConvolution"):
            continue
        weights = operation.input(1).get_source_output()
        constant = weights.get_node()
        while constant.get_type_name() == "Reshape":  # groups
            weights = constant.input(0).get_source_output()
            constant = weights.get_node()
        assert constant.get_type_name() == "Constant", constant
        halved = operators.constant(constant.data.astype(np.float16))
        decompressed = operators.convert(halved, "f32")
        for target in weights.get_target_inputs():
            target.replace_source_output(decompressed.output(0))


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
