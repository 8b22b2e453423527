"""A network as one ONNX file."""

import logging
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from blitznet.export.limits import Limits
from blitznet.export.onnx_select import TRANSLATION, select_as_one_operator
from blitznet.export.self_contained import (
    RAW_DETECTION_OUTPUTS,
    SelfContainedNetwork,
    file_output_names,
)
from blitznet.inference.engines.pixel_network import example_pixels, output_names
from blitznet.model.blitznet import BlitzNet
from blitznet.model_files import METADATA_KEY, CheckpointInfo, ExportInfo, parse_export_info
from blitznet.whole_file import whole_file

# Read by ONNX Runtime from 1.14, OpenVINO from 2023.0 and TensorRT from 8.6 on.
OPSET = 18

INPUT_NAME = "images"


def export_onnx(path: Path, network: BlitzNet, info: CheckpointInfo) -> None:
    """Write `network` as one self-contained file with the paper's limits, whole or not at all.

    Args:
        path: of the file, replaced if it exists.
        network: on the CPU, in evaluation mode.
        info: of its checkpoint.

    Raises:
        InputError: if the file cannot be written.
    """
    limits = Limits()
    exported = ExportInfo(
        **info.model_dump(exclude={"format_version"}),
        score=limits.score,
        iou=limits.iou,
        top=limits.top,
        precision="fp32",
        outputs=file_output_names(info.model),
    )
    with whole_file(path) as temporary:
        write_onnx(temporary, network, limits, exported)


def write_onnx(path: Path, network: BlitzNet, limits: Limits, info: ExportInfo) -> None:
    """Write `network` with everything before and after it.

    The raw outputs of the multibox head are no outputs of the file, but keep their names in it.

    Args:
        path: of the file.
        network: in evaluation mode, on the CPU.
        limits: of suppression.
        info: goes into the metadata.
    """
    module = SelfContainedNetwork(network, limits, select_as_one_operator, with_raw=True).eval()
    example = example_pixels(network.config)
    program = export_onnx_program(module, (example,), (INPUT_NAME,), module.output_names)
    graph = program.model.graph
    for value in [value for value in graph.outputs if value.name in RAW_DETECTION_OUTPUTS]:
        graph.outputs.remove(value)
    program.model.metadata_props[METADATA_KEY] = info.model_dump_json()
    program.model.producer_name = "blitznet"
    program.save(path)


def export_onnx_program(
    module: nn.Module,
    example: tuple[Tensor, ...],
    inputs: Sequence[str],
    outputs: Sequence[str],
) -> torch.onnx.ONNXProgram:
    """A module as ONNX, the first dimension of every input free.

    Args:
        module: in evaluation mode.
        example: inputs, two or more in the first dimension.
        inputs: names of them.
        outputs: names of what `forward` returns.
    """
    batch = torch.export.Dim("batch", min=1)
    with warnings.catch_warnings(), _errors_only("onnxscript", "torch.onnx"):
        warnings.simplefilter("ignore")  # the exporter's, about its own parts
        program = torch.onnx.export(
            module,
            example,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_shapes=tuple({0: batch} for _ in example),
            opset_version=OPSET,
            custom_translation_table=TRANSLATION,
            dynamo=True,
            verbose=False,
        )
    assert program is not None
    return program


def raw_onnx_outputs(path: Path, pixels: np.ndarray) -> dict[str, np.ndarray]:
    """What a file's network says, before decoding.

    Args:
        path: of a file of `write_onnx`.
        pixels: (B, S, S, 3) uint8.

    Returns:
        class_logits, box_deltas and seg_logits, as far as the network has them.
    """
    import onnx
    import onnxruntime

    model = onnx.load(path)
    text = {entry.key: entry.value for entry in model.metadata_props}.get(METADATA_KEY)
    names = output_names(parse_export_info(path, text).model)
    for name in set(names) & set(RAW_DETECTION_OUTPUTS):
        model.graph.output.append(onnx.helper.make_empty_tensor_value_info(name))
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return dict(zip(names, session.run(names, {INPUT_NAME: pixels}), strict=True))


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
