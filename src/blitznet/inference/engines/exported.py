"""Files made by `blitznet export`, run by the library that their format belongs to."""

import threading
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import torch

from blitznet.detections import Detections
from blitznet.errors import CheckpointError, InputError
from blitznet.extras import require
from blitznet.inference.engines.engine import EngineOutput
from blitznet.inference.engines.onnx_session import open_session
from blitznet.model_files import METADATA_KEY, ExportInfo, parse_export_info

if TYPE_CHECKING:
    import openvino

Library = Literal["onnxruntime", "openvino", "torchscript"]

# Which libraries open which file, the default first.
LIBRARIES: dict[str, tuple[Library, ...]] = {
    ".onnx": ("onnxruntime", "openvino"),
    ".xml": ("openvino",),
    ".torchscript": ("torchscript",),
}

Outputs = Mapping[str, np.ndarray]


def is_exported(path: Path) -> bool:
    """Whether a file's name says that it was exported."""
    return path.suffix in LIBRARIES


def open_exported(
    path: Path, library: str = "auto", device: str | torch.device = "auto"
) -> "ExportedEngine":
    """A file made by `blitznet export`, ready to run.

    Args:
        path: NAME.onnx, NAME.xml (OpenVINO, with NAME.bin beside it) or NAME.torchscript.
        library: what runs it: `auto`, or one of `LIBRARIES`.
        device: `auto`, `cpu` or, in an ONNX Runtime built for it, `cuda` or `cuda:N`.

    Raises:
        CheckpointError: if the file is missing, damaged, or was not made by `blitznet export`.
        InputError: if the library is not installed or cannot run it there.
    """
    if not path.is_file():
        raise CheckpointError(f"{path} does not exist")
    if path.suffix not in LIBRARIES:
        raise CheckpointError(f"{path}: exported files end in {', '.join(LIBRARIES)}")
    fitting = LIBRARIES[path.suffix]
    if library == "auto":
        library = fitting[0]
    if library not in fitting:
        raise InputError(f"{path} is run by {' or '.join(fitting)}, not by {library!r}")
    open_file = {
        "onnxruntime": _open_onnxruntime,
        "openvino": _open_openvino,
        "torchscript": _open_torchscript,
    }[library]
    info, run_file = open_file(path, str(device))
    return ExportedEngine(library, info, run_file)


class ExportedEngine:
    """An exported file as a `Engine`.

    Args:
        name: of the library.
        info: of the file.
        run_file: (B, S, S, 3) uint8 pixels to the outputs by name, save `seg_map`, which is left
            out: whoever asks has a picture of another size, and resizes the logits to that.
    """

    model = None

    def __init__(
        self, name: str, info: ExportInfo, run_file: Callable[[np.ndarray], Outputs]
    ) -> None:
        self.name = name
        self.info = info
        self.model = None
        self._run_file = run_file

    def close(self) -> None:
        """See `Engine.close`."""

    def run(self, pixels: np.ndarray, score: float) -> EngineOutput:
        """See `Engine.run`.

        Raises:
            InputError: if weaker objects are asked for than the file gives out.
        """
        if self.info.model.detect and score < self.info.score:
            raise InputError(
                f"the file gives objects of score {self.info.score:g} or more, but {score:g} is "
                f"asked for; export it again with --score {score:g}"
            )
        outputs = self._run_file(pixels)
        detections = None
        if self.info.model.detect:
            detections = _detections(outputs, score, self.info.model.image_size)
        return EngineOutput(detections, outputs.get("seg_logits"))


def _detections(outputs: Outputs, score: float, size: int) -> list[Detections]:
    """Rows that reach the score, which are the first ones; boxes in pixels of the input."""
    counts = np.minimum(outputs["count"], (outputs["scores"] >= score).sum(axis=1))
    return [
        Detections(
            outputs["boxes"][image, :count] * np.float32(size),
            outputs["labels"][image, :count].astype(np.int64),
            outputs["scores"][image, :count].copy(),
        )
        for image, count in enumerate(counts)
    ]


def _wanted(info: ExportInfo) -> list[str]:
    return [name for name in info.outputs if name != "seg_map"]


def _damaged(path: Path, library: str, error: Exception) -> CheckpointError:
    reason = " ".join(str(error).split())[:200]
    return CheckpointError(f"{path} cannot be opened by {library}; it may be damaged ({reason})")


def _open_onnxruntime(path: Path, device: str) -> tuple[ExportInfo, Callable[..., Outputs]]:
    require("onnxruntime", "onnx", f"{path.suffix} files")
    import onnxruntime

    try:
        session = open_session(path, _onnxruntime_providers(device))
    except RuntimeError as error:
        raise _damaged(path, "onnxruntime", error) from None
    info = parse_export_info(path, session.get_modelmeta().custom_metadata_map.get(METADATA_KEY))
    names = _wanted(info)
    run_options = onnxruntime.RunOptions()
    run_options.only_execute_path_to_fetches = True

    def run(pixels: np.ndarray) -> Outputs:
        return dict(zip(names, session.run(names, {"images": pixels}, run_options), strict=True))

    return info, run


def _onnxruntime_providers(device: str) -> list[Any]:
    import onnxruntime

    has_cuda = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
    if device == "cpu" or (device == "auto" and not has_cuda):
        return ["CPUExecutionProvider"]
    if not has_cuda or (device not in ("auto", "cuda") and not device.startswith("cuda:")):
        raise InputError(
            f"this onnxruntime runs on {', '.join(onnxruntime.get_available_providers())}, not on "
            f"{device}; install onnxruntime-gpu for CUDA, or use --device cpu"
        )
    index = device.partition(":")[2] or "0"
    return [("CUDAExecutionProvider", {"device_id": index}), "CPUExecutionProvider"]


def _open_openvino(path: Path, device: str) -> tuple[ExportInfo, Callable[..., Outputs]]:
    require("openvino", "openvino", f"OpenVINO for {path.name}")
    import openvino

    if device not in ("auto", "cpu"):
        raise InputError(f"OpenVINO files run on the CPU here, not on {device}; use --device cpu")
    core = openvino.Core()
    try:
        model = core.read_model(path)
    except RuntimeError as error:
        raise _damaged(path, "OpenVINO", error) from None
    info = parse_export_info(path, openvino_metadata(model))
    if path.suffix == ".onnx":
        follow_onnx(model, info.iou)
    for result in model.get_results():
        if "seg_map" in result.output(0).get_names():
            model.remove_result(result)
    compiled = core.compile_model(model, "CPU", openvino_hints(info))
    names = _wanted(info)
    own = threading.local()

    def run(pixels: np.ndarray) -> Outputs:
        if not hasattr(own, "request"):
            own.request = compiled.create_infer_request()
        results = own.request.infer({"images": pixels})
        return {name: results[name] for name in names}

    return info, run


def openvino_hints(info: ExportInfo) -> dict[str, str]:
    """How to compile: files of lower precision leave the arithmetic to what is fastest here."""
    return {"INFERENCE_PRECISION_HINT": "f32"} if info.precision == "fp32" else {}


def openvino_metadata(model: "openvino.Model") -> str | None:
    """Of an OpenVINO file, or of an ONNX file that OpenVINO has read."""
    for place in ([METADATA_KEY], ["framework", METADATA_KEY]):
        if model.has_rt_info(place):
            return str(model.get_rt_info(place).value)
    return None


def follow_onnx(model: "openvino.Model", iou: float) -> None:
    """Let a model that was read from ONNX do what ONNX says where OpenVINO's reader does not.

    ONNX's TopK gives the first of equals first, and its suppression drops boxes whose IoU exceeds
    the threshold. OpenVINO's TopK is free in the order of equals unless it is told to be stable,
    and its suppression drops boxes that reach the threshold, so that is moved to the next number.

    Args:
        model: is changed.
        iou: the threshold.
    """
    from openvino import opset13 as operators

    for operation in model.get_ops():
        if operation.get_type_name() == "TopK":
            operation.set_attribute("stable", True)
        elif operation.get_type_name() == "NonMaxSuppression":
            beyond = operators.constant(np.nextafter(np.float32(iou), np.float32(np.inf)))
            operation.input(3).replace_source_output(beyond.output(0))


def _open_torchscript(path: Path, device: str) -> tuple[ExportInfo, Callable[..., Outputs]]:
    from blitznet.inference.engines.torchscript import load_torchscript

    if device not in ("auto", "cpu"):
        raise InputError(f"TorchScript files run on the CPU, not on {device}; use --device cpu")
    try:
        module, text = load_torchscript(path)
    except (RuntimeError, ValueError) as error:
        raise _damaged(path, "PyTorch", error) from None
    info = parse_export_info(path, text)

    def run(pixels: np.ndarray) -> Outputs:
        with torch.inference_mode():
            outputs = module(torch.from_numpy(pixels))
        return {name: tensor.numpy() for name, tensor in zip(info.outputs, outputs, strict=True)}

    return info, run
