"""Write a network as one ONNX file: image pixels in, boxes and segmentation logits out."""

import logging
import warnings
from copy import deepcopy
from pathlib import Path
from typing import Any, cast

import numpy as np
import onnx_ir as ir
import torch
from onnx_ir.passes.common import ClearMetadataAndDocStringPass
from onnxscript import optimizer
from torch import Tensor, nn
from torch.nn.functional import interpolate

from blitznet.detection.anchors import anchor_shapes
from blitznet.detection.limits import PAPER, Limits
from blitznet.errors import InputError, shown
from blitznet.exporting.decode import TRANSLATION, decode
from blitznet.files.atomic_write import atomic_write
from blitznet.model.blitznet import BlitzNet
from blitznet.model.pixel_network import PixelNetwork
from blitznet.model_files import METADATA_KEY, CheckpointInfo, ExportInfo, FilePrecision
from blitznet.model_info import ModelConfig

# Supported by ONNX Runtime 1.14 and OpenVINO 2023.0 or later.
OPSET = 18

# torch.export treats sizes 0 and 1 as constants, so the example is a batch of two.
_EXAMPLE_BATCH = 2

# Largest number of elements of a folded constant: more than a bias, fewer than the anchors.
_MAX_FOLDED = 4096

DETECTION_OUTPUTS = ("boxes", "scores", "labels", "count")
RAW_DETECTION_OUTPUTS = ("class_logits", "box_deltas")


def file_output_names(config: ModelConfig, has_seg_map: bool = False) -> tuple[str, ...]:
    """Names of a file's outputs, for the tasks that the network has."""
    outputs: tuple[str, ...] = DETECTION_OUTPUTS if config.detect else ()
    if config.segment:
        outputs += ("seg_logits", "seg_map") if has_seg_map else ("seg_logits",)
    return outputs


class ExportedNetwork(nn.Module):
    """A network with normalisation, decoding and NMS.

    Attributes:
        output_names: names of the tensors that `forward` returns.
    """

    anchor_shapes: Tensor  # (L, 6, 2) width and height, input pixels

    def __init__(
        self, network: BlitzNet, info: CheckpointInfo, limits: Limits, has_seg_map: bool = False
    ) -> None:
        super().__init__()
        self.network = PixelNetwork(network, info)
        self.limits = limits
        self.config = network.config
        if network.multibox_head and self.config.level_sizes[-1] == 1:
            for convolutions in (network.multibox_head.classify, network.multibox_head.regress):
                convolutions[-1] = _centre_tap(convolutions[-1])
        shapes = anchor_shapes(self.config) * self.config.image_size
        self.register_buffer("anchor_shapes", shapes.float(), persistent=False)
        raw = RAW_DETECTION_OUTPUTS if network.config.detect else ()
        self.output_names = (*file_output_names(network.config, has_seg_map), *raw)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """Compute the outputs of `output_names`.

        Args:
            images: (B, S, S, 3) uint8 RGB.

        Returns:
            In this order: boxes (B, T, 4) float32 xyxy, fractions of width and height; scores
            (B, T) float32; labels (B, T) int64; count (B,) int64; seg_logits (B, C, h, w) float32;
            seg_map (B, S, S) uint8; class_logits (B, A, C); box_deltas (B, A, 4).
        """
        raw = self.network(images)
        outputs: dict[str, Tensor] = {
            name: tensor for name, tensor in raw._asdict().items() if tensor is not None
        }
        if raw.class_logits is not None and raw.box_deltas is not None:
            size, logits, deltas = self.config.image_size, raw.class_logits, raw.box_deltas
            found = decode(logits, deltas, self._anchors(), size, *self.limits)
            outputs |= dict(zip(DETECTION_OUTPUTS, found, strict=True))
            outputs["boxes"] = outputs["boxes"] / size
        if "seg_map" in self.output_names:
            sides = (self.config.image_size, self.config.image_size)
            planes = interpolate(outputs["seg_logits"], sides, mode="bilinear", align_corners=False)
            outputs["seg_map"] = planes.argmax(dim=1).byte()
        return tuple(outputs[name] for name in self.output_names)

    def _anchors(self) -> Tensor:
        """(A, 4) cxcywh, input pixels; made in the graph, which saves up to half a megabyte."""
        levels = []
        for size, shapes in zip(self.config.level_sizes, self.anchor_shapes, strict=True):
            line = (torch.arange(size) + 0.5) * (self.config.image_size / size)
            y, x = torch.meshgrid(line, line, indexing="ij")
            centres = torch.stack((x, y), dim=-1).reshape(-1, 1, 2)
            cells = (centres.expand(-1, len(shapes), -1), shapes.expand(size * size, -1, -1))
            levels.append(torch.cat(cells, dim=-1).reshape(-1, 4))
        return torch.cat(levels)


def _centre_tap(convolution: nn.Module) -> nn.Conv2d:
    """The 1x1 convolution that equals a padded 3x3 one on a map of one pixel."""
    assert isinstance(convolution, nn.Conv2d)
    centre = nn.Conv2d(convolution.in_channels, convolution.out_channels, 1)
    centre.weight = nn.Parameter(convolution.weight[:, :, 1:2, 1:2])
    centre.bias = convolution.bias
    return centre


def export_onnx(
    path: Path,
    network: BlitzNet,
    info: CheckpointInfo,
    limits: Limits = PAPER,
    precision: FilePrecision = "fp32",
    has_seg_map: bool = False,
) -> None:
    """Write a network with normalisation, decoding and NMS as an ONNX file, atomically.

    Args:
        path: path of the file, replaced if it exists.
        network: network to export; not modified.
        info: its checkpoint's metadata, copied to the file.
        limits: limits of NMS.
        precision: fp32, or fp16, which stores the weights of convolutions in half precision and
            casts them to float32 in the graph; computation stays in float32.
        has_seg_map: also output the segmentation map at input size, which takes 20% more time.

    Raises:
        InputError: if the file cannot be written, or a weight exceeds the range of float16.
    """
    for name, tensor in network.state_dict().items() if precision == "fp16" else ():
        if tensor.ndim == 4 and not tensor.half().isfinite().all():
            raise InputError(f"{shown(name)} has values beyond the range of float16; use fp32")
    module = ExportedNetwork(deepcopy(network).cpu(), info, limits, has_seg_map).eval()
    side = info.model.image_size
    example = torch.zeros(_EXAMPLE_BATCH, side, side, 3, dtype=torch.uint8)
    program = trace(module, {"images": example}, module.output_names, precision)
    # The file does not output raw predictions, but keeps their names for quantization.
    outputs = program.model.graph.outputs
    for value in [value for value in outputs if value.name in RAW_DETECTION_OUTPUTS]:
        outputs.remove(value)
    described = ExportInfo(
        **info.model_dump(exclude={"format_version"}),
        score=limits.score,
        iou=limits.iou,
        top=limits.top,
        precision=precision,
        outputs=file_output_names(info.model, has_seg_map),
    )
    ClearMetadataAndDocStringPass()(program.model)  # stack traces with paths of this machine
    program.model.metadata_props[METADATA_KEY] = described.model_dump_json()
    program.model.producer_name = "blitznet"
    with atomic_write(path) as temporary:
        program.save(temporary)


def trace(
    module: nn.Module,
    inputs: dict[str, Tensor],
    output_names: tuple[str, ...],
    precision: FilePrecision = "fp32",
) -> torch.onnx.ONNXProgram:
    """Trace a module to ONNX with a dynamic first dimension for every input.

    Args:
        module: a module in evaluation mode.
        inputs: example inputs by name; the first dimension must be at least two.
        output_names: names of the tensors that `forward` returns.
        precision: see `export_onnx`.
    """
    batch = torch.export.Dim("batch", min=1)
    disabled = logging.root.manager.disable
    logging.disable(logging.WARNING)  # the exporter's own, like the warnings
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            program = torch.onnx.export(
                module,
                tuple(inputs.values()),
                input_names=list(inputs),
                output_names=list(output_names),
                dynamic_shapes=tuple({0: batch} for _ in inputs),
                opset_version=OPSET,
                custom_translation_table=TRANSLATION,
                dynamo=True,
                optimize=False,
                verbose=False,
            )
    finally:
        logging.disable(disabled)
    assert program is not None
    if precision == "fp16":
        _halve_weights(program)
    # What is folded is stored, so large values such as anchors are left to be computed.
    optimizer.optimize_ir(
        program.model,
        output_size_limit=_MAX_FOLDED,
        should_fold=lambda node: False if _reads_half(node) else None,
    )
    return program


def _reads_half(node: ir.Node) -> bool:
    return any(value is not None and value.dtype == ir.DataType.FLOAT16 for value in node.inputs)


def _halve_weights(program: torch.onnx.ONNXProgram) -> None:
    """Store the weights of convolutions as float16, and batch norms as scale and bias.

    Anchors in pixels need full precision. This keeps the optimizer from fusing batch norms into the
    weights. Runtimes do that in float32, with the checkpoint's weights, if those were stored as
    float16, too.
    """
    graph = program.model.graph
    for node in list(graph):
        if node.op_type == "BatchNormalization":
            _merge_statistics(node)
        if node.op_type != "Conv":
            continue
        weight: Any = node.inputs[1]
        half = _add_tensor(graph, f"{weight.name}_half", _numbers(weight).astype(np.float16))
        to_float = ir.node("Cast", [half], attributes={"to": ir.DataType.FLOAT})
        graph.insert_before(node, to_float)
        node.replace_input_with(1, to_float.outputs[0])
        if not weight.uses():
            graph.initializers.pop(weight.name)


def _merge_statistics(node: ir.Node) -> None:
    """Merge mean and variance of a batch norm into scale and bias, so that all share 0 and 1."""
    graph: Any = node.graph
    scale, bias, mean, variance = map(_numbers, node.inputs[1:5])
    scale = scale / np.sqrt(variance + node.attributes["epsilon"].as_float())
    old_scale, old_bias, old_mean, old_variance = (cast(ir.Value, one) for one in node.inputs[1:5])
    replacements = (
        (old_scale, f"{old_scale.name}_merged", scale),
        (old_bias, f"{old_bias.name}_merged", bias - mean * scale),
        (old_mean, f"0_{len(mean)}", np.zeros_like(mean)),
        (old_variance, f"1_{len(mean)}", np.ones_like(mean)),
    )
    for number, (old, name, numbers) in enumerate(replacements, start=1):
        node.replace_input_with(number, _add_tensor(graph, name, numbers))
        if not old.uses():
            graph.initializers.pop(str(old.name))
    node.attributes["epsilon"] = ir.AttrFloat32("epsilon", 0.0)


def _numbers(value: Any) -> np.ndarray:
    numbers: np.ndarray = value.const_value.numpy()
    return numbers


def _add_tensor(graph: Any, name: str, numbers: np.ndarray) -> ir.Value:
    """Add an initializer, unless there is one of this name."""
    if name not in graph.initializers:
        graph.register_initializer(ir.val(name, const_value=ir.tensor(numbers)))
    added: ir.Value = graph.initializers[name]
    return added
