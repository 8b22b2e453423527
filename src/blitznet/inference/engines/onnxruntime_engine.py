"""ONNX Runtime: on the CPU, which the base installation does, with CUDA or with TensorRT."""

import hashlib
import os
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from blitznet.cache import cache_folder
from blitznet.cpu import usable_cores
from blitznet.errors import CheckpointError, InputError, one_line
from blitznet.inference.engines.engine import ExportedEngine
from blitznet.model_files import METADATA_KEY, parse_export_info, read_exported_file


class OnnxRuntimeEngine(ExportedEngine):
    """An exported file in ONNX Runtime; see `Engine`.

    Args:
        path: NAME.onnx.
        device: `cpu` or `cuda:N`.
        use_tensorrt: let TensorRT run what it can, in half precision.
        threads: of one run on the CPU; None = as many as there are usable cores.

    Raises:
        CheckpointError: if the file is damaged, or was not made by `blitznet export`.
        InputError: if this ONNX Runtime cannot run there.
    """

    def __init__(
        self,
        path: Path,
        device: str = "cpu",
        use_tensorrt: bool = False,
        threads: int | None = None,
    ) -> None:
        self.name = "tensorrt" if use_tensorrt else "onnxruntime"
        self.device = device
        content = read_exported_file(path)
        providers = _providers(device, use_tensorrt, content)
        self._session = _open_session(path, content, providers, threads or usable_cores())
        metadata = self._session.get_modelmeta().custom_metadata_map
        self.info = parse_export_info(path, metadata.get(METADATA_KEY))
        self._require_sound(path)

    def _outputs(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        outputs = self._session.run(self._wanted, {"images": pixels})
        return dict(zip(self._wanted, outputs, strict=True))

    def close(self) -> None:
        """See `Engine.close`."""
        del self._session


def import_onnxruntime() -> ModuleType:
    """ONNX Runtime, which reports nothing to its maker unless the user has asked for that."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    if os.environ["ORT_DISABLE_TELEMETRY"] != "0":
        onnxruntime.disable_telemetry_events()
    module: ModuleType = onnxruntime
    return module


def has_provider(name: str) -> bool:
    """Whether this ONNX Runtime comes with `CUDA`, with `Tensorrt`, ..."""
    return f"{name}ExecutionProvider" in import_onnxruntime().get_available_providers()


def _open_session(path: Path, content: bytes, providers: list[Any], threads: int) -> Any:
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors alone; warnings are of optimizations that do not apply
    options.intra_op_num_threads = threads  # by itself it counts the cores of the host
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    state = onnxruntime.capi.onnxruntime_pybind11_state
    kinds = ("Fail", "InvalidArgument", "InvalidGraph", "InvalidProtobuf", "NoModel", "NoSuchFile",
             "NotImplemented", "RuntimeException")  # fmt: skip
    errors = (RuntimeError, ValueError, *(getattr(state, kind) for kind in kinds))
    try:
        return onnxruntime.InferenceSession(content, options, providers)
    except errors as error:
        reason = one_line(error)
        raise CheckpointError(
            f"{path} cannot be opened by ONNX Runtime; it may be damaged ({reason})"
        ) from None


def _providers(device: str, use_tensorrt: bool, content: bytes) -> list[Any]:
    available = import_onnxruntime().get_available_providers()
    if device == "cpu" and not use_tensorrt:
        return ["CPUExecutionProvider"]
    needed = "TensorrtExecutionProvider" if use_tensorrt else "CUDAExecutionProvider"
    if not device.startswith("cuda") or needed not in available:
        raise InputError(
            f"this ONNX Runtime has {', '.join(available)}, and {needed} was wanted on {device}; "
            "install onnxruntime-gpu (and TensorRT's own libraries), or use --device cpu"
        )
    index = device.partition(":")[2] or "0"
    fallback = [("CUDAExecutionProvider", {"device_id": index}), "CPUExecutionProvider"]
    if not use_tensorrt:
        return fallback
    weights = hashlib.blake2b(content, digest_size=16).hexdigest()
    settings = {
        "device_id": index,
        "trt_fp16_enable": True,
        "trt_engine_cache_enable": True,
        "trt_engine_cache_path": str(cache_folder() / "tensorrt" / weights),
    }
    return [("TensorrtExecutionProvider", settings), *fallback]
