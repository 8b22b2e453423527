"""A network as one TorchScript file."""

import warnings
from pathlib import Path

import numpy as np
import torch

from blitznet.export.limits import Limits
from blitznet.export.select_objects import select_objects
from blitznet.export.self_contained import SelfContainedNetwork
from blitznet.inference.engines.pixel_network import example_pixels, output_names
from blitznet.inference.engines.torchscript import (
    load_torchscript,
    save_torchscript,
    without_deprecation,
)
from blitznet.model.blitznet import BlitzNet
from blitznet.model_files import ExportInfo, parse_export_info


def write_torchscript(path: Path, network: BlitzNet, limits: Limits, info: ExportInfo) -> None:
    """Write `network` with everything before and after it; see `write_onnx`.

    Its method `raw` gives class_logits, box_deltas and seg_logits.
    """
    module = SelfContainedNetwork(network, limits, select_objects).eval()
    example = example_pixels(network.config)
    with without_deprecation(), warnings.catch_warnings(), torch.inference_mode(False):
        # Sizes of the network are constants, as they should be.
        warnings.simplefilter("ignore", torch.jit.TracerWarning)  # type: ignore[attr-defined]
        traced = torch.jit.trace_module(  # type: ignore[no-untyped-call]
            module, {"forward": example, "raw": example}, check_trace=False
        )
    save_torchscript(traced, path, info.model_dump_json())


def raw_torchscript_outputs(path: Path, pixels: np.ndarray) -> dict[str, np.ndarray]:
    """See `raw_onnx_outputs`."""
    module, text = load_torchscript(path)
    names = output_names(parse_export_info(path, text).model)
    with torch.inference_mode():
        outputs = module.raw(torch.from_numpy(pixels))
    return {name: out.numpy() for name, out in zip(names, outputs, strict=True)}
