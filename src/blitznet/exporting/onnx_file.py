"""A network as one ONNX file."""

import logging
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import torch
from torch import nn

from blitznet.detection.limits import Limits
from blitznet.detection.nms import PAPER
from blitznet.exporting.decode import TRANSLATION
from blitznet.exporting.exported_network import (
    RAW_DETECTION_OUTPUTS,
    ExportedNetwork,
    file_output_names,
)
from blitznet.model.blitznet import BlitzNet
from blitznet.model_files import METADATA_KEY, CheckpointInfo, ExportInfo, Precision
from blitznet.whole_file import whole_file

# Read by ONNX Runtime from 1.14, OpenVINO from 2023.0 and TensorRT from 8.6 on.
OPSET = 18

# torch.export takes sizes 0 and 1 for constants, so the example is a batch of two.
_EXAMPLE_BATCH = 2


def export_onnx(
    path: Path,
    network: BlitzNet,
    info: CheckpointInfo,
    limits: Limits = PAPER,
    precision: Precision = "fp32",
    has_seg_map: bool = False,
) -> None:
    """Write a network with everything before and after it, whole or not at all.

    Args:
        path: of the file, replaced if it exists.
        network: stays as it is.
        info: what its checkpoint says of it; goes into the metadata.
        limits: of suppression.
        precision: fp32, or fp16 = weights of convolutions are stored in half precision and cast up
            in the graph, which computes in single precision as before.
        has_seg_map: also give out the class map at the input's size, at a fifth more time.

    Raises:
        InputError: if the file cannot be written.
    """
    was_training, device = network.training, network.anchors.device
    module = ExportedNetwork(network.cpu().eval(), limits, has_seg_map).eval()
    try:
        program = export_program(module)
    finally:
        network.train(was_training).to(device)
    # Raw outputs are none of the file's, but keep their names in it: quantization asks for them.
    outputs = program.model.graph.outputs
    for value in [value for value in outputs if value.name in RAW_DETECTION_OUTPUTS]:
        outputs.remove(value)
    if precision == "fp16":
        _halve_weights(program)
    described = ExportInfo(
        **info.model_dump(exclude={"format_version"}),
        score=limits.score,
        iou=limits.iou,
        top=limits.top,
        precision=precision,
        outputs=file_output_names(info.model, has_seg_map),
    )
    program.model.metadata_props[METADATA_KEY] = described.model_dump_json()
    program.model.producer_name = "blitznet"
    with whole_file(path) as temporary:
        program.save(temporary)


def export_program(module: ExportedNetwork) -> torch.onnx.ONNXProgram:
    """The graph, for a batch of any size."""
    side = module.image_size
    example = torch.zeros(_EXAMPLE_BATCH, side, side, 3, dtype=torch.uint8)
    return trace(module, {"images": example}, module.output_names)


def trace(
    module: nn.Module, inputs: dict[str, torch.Tensor], output_names: tuple[str, ...]
) -> torch.onnx.ONNXProgram:
    """A module as ONNX, the first dimension of every input free.

    Args:
        module: in evaluation mode.
        inputs: examples by name, two or more in the first dimension.
        output_names: of what `forward` returns.
    """
    batch = torch.export.Dim("batch", min=1)
    with warnings.catch_warnings(), _errors_only("onnxscript", "torch.onnx"):
        warnings.simplefilter("ignore")  # the exporter's, about its own parts
        program = torch.onnx.export(
            module,
            tuple(inputs.values()),
            input_names=list(inputs),
            output_names=list(output_names),
            dynamic_shapes=tuple({0: batch} for _ in inputs),
            opset_version=OPSET,
            custom_translation_table=TRANSLATION,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    return program


def _halve_weights(program: torch.onnx.ONNXProgram) -> None:
    """Store the weights of convolutions as float16; anchors, in pixels, need all their digits."""
    import numpy as np
    import onnx_ir as ir

    graph = program.model.graph
    for node in list(graph):
        if node.op_type != "Conv":
            continue
        weight = node.inputs[1]
        assert weight is not None
        assert weight.name is not None
        assert weight.const_value is not None
        half = ir.val(
            f"{weight.name}_half",
            const_value=ir.tensor(weight.const_value.numpy().astype(np.float16)),
        )
        graph.register_initializer(half)
        cast = ir.node("Cast", [half], attributes={"to": ir.DataType.FLOAT})
        graph.insert_before(node, cast)
        node.replace_input_with(1, cast.outputs[0])
        if not weight.uses():
            graph.initializers.pop(weight.name)


@contextmanager
def _errors_only(*names: str) -> Iterator[None]:
    """Loggers that say nothing below an error for a while."""
    loggers = [logging.getLogger(name) for name in names]
    levels = [logger.level for logger in loggers]
    try:
        for logger in loggers:
            logger.setLevel(logging.ERROR)
        yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
