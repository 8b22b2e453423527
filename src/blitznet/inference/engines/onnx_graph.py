"""From a network to an ONNX file that takes pixels and gives raw predictions."""

from pathlib import Path

import torch

from blitznet.errors import InputError
from blitznet.extras import require
from blitznet.inference.engines.pixel_network import (
    INPUT_NAME,
    export_program,
    output_names,
    without_warnings,
)
from blitznet.model.blitznet import BlitzNet


def network_to_onnx(network: BlitzNet, path: Path) -> None:
    """Write a network with its normalisation, for a batch of any size, decoding left out.

    Args:
        network: in evaluation mode.
        path: of the file; its input is INPUT_NAME, its outputs are `output_names`.

    Raises:
        InputError: if a package is missing, or PyTorch cannot convert the network.
    """
    require("onnx", "onnx", "ONNX Runtime")
    require("onnxscript", "onnx", "converting to ONNX")
    program = export_program(network)
    with without_warnings():
        try:
            onnx_program = torch.onnx.export(
                program,
                input_names=[INPUT_NAME],
                output_names=list(output_names(network.config)),
                dynamo=True,
                external_data=False,
                verbose=False,
            )
        except torch.onnx.OnnxExporterError as error:
            raise InputError(
                f"{network.config.name} cannot be converted to ONNX: {error}"
            ) from error
    assert onnx_program is not None
    onnx_program.save(path)
