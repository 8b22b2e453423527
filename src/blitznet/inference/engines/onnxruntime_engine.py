"""The ONNX Runtime engine: on the CPU with the base installation, or with CUDA."""

import os
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np

from blitznet.cpu import usable_cores
from blitznet.errors import CheckpointError, InputError, one_line
from blitznet.inference.engines.engine import ExportedEngine
from blitznet.model_files import METADATA_KEY, parse_export_info, read_exported_file

_CUDA = "CUDAExecutionProvider"


class OnnxRuntimeEngine(ExportedEngine):
    """Runs an exported file in ONNX Runtime; see `Engine`.

    Args:
        path: NAME.onnx.
        device: `cpu` or `cuda:N`.
        threads: threads per run on the CPU; None = number of usable cores.

    Raises:
        CheckpointError: if the file is damaged, or was not made by `blitznet export`.
        InputError: if this ONNX Runtime does not support the device.
    """

    name = "onnxruntime"

    def __init__(self, path: Path, device: str = "cpu", threads: int | None = None) -> None:
        self.device = device
        content, providers = read_exported_file(path), _providers(device)
        self._session = _open_session(path, content, providers, threads or usable_cores())
        metadata = self._session.get_modelmeta().custom_metadata_map
        self.info = parse_export_info(path, metadata.get(METADATA_KEY))
        self._require_sound(path)

    def _outputs(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        outputs = self._session.run(self._wanted, {"images": pixels})
        return dict(zip(self._wanted, outputs, strict=True))

    def close(self) -> None:
        del self._session


def import_onnxruntime() -> ModuleType:
    """Import ONNX Runtime, with telemetry off unless the user has enabled it."""
    os.environ.setdefault("ORT_DISABLE_TELEMETRY", "1")
    import onnxruntime

    if os.environ["ORT_DISABLE_TELEMETRY"] != "0":
        onnxruntime.disable_telemetry_events()
    module: ModuleType = onnxruntime
    return module


def has_cuda() -> bool:
    """Whether this ONNX Runtime has the CUDA execution provider."""
    return _CUDA in import_onnxruntime().get_available_providers()


def _open_session(path: Path, content: bytes, providers: list[Any], threads: int) -> Any:
    onnxruntime = import_onnxruntime()
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3  # errors only; it warns of optimizations that do not apply
    options.intra_op_num_threads = threads  # the default is the cores of the host
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


def _providers(device: str) -> list[Any]:
    if device == "cpu":
        return ["CPUExecutionProvider"]
    if not device.startswith("cuda") or not has_cuda():
        available = ", ".join(import_onnxruntime().get_available_providers())
        raise InputError(
            f"this ONNX Runtime has only {available}, but {device} needs {_CUDA}; install "
            "onnxruntime-gpu, or use --device cpu"
        )
    return [(_CUDA, {"device_id": device.partition(":")[2] or "0"}), "CPUExecutionProvider"]
