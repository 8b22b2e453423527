"""ONNX Runtime, on a CPU or a GPU, and TensorRT through it."""

from time import perf_counter
from typing import Any

import numpy as np
import torch

from blitznet.detection.anchors import anchors_of
from blitznet.errors import InputError
from blitznet.extras import require
from blitznet.inference.engines.conversion_cache import Tell, fingerprint, read_cached
from blitznet.inference.engines.decoding import decode_output
from blitznet.inference.engines.engine import EngineOutput
from blitznet.inference.engines.onnx_graph import network_to_onnx
from blitznet.inference.engines.onnx_session import open_session
from blitznet.inference.engines.pixel_network import INPUT_NAME, as_raw, output_names
from blitznet.model.blitznet import BlitzNet
from blitznet.model_files import CheckpointInfo

_FILE = "network.onnx"


class OnnxEngine:
    """A converted network in ONNX Runtime; see `Engine`.

    Args:
        model: is converted at the first time, and found in the cache from then on.
        info: what its checkpoint says of it.
        device: a CPU or a CUDA device.
        name: of the runtime.
        use_tensorrt: let TensorRT run what it can, in half precision.
        tell: is told that there is something to wait for.

    Raises:
        InputError: if a package is missing, or cannot run there.
    """

    def __init__(
        self,
        model: BlitzNet,
        info: CheckpointInfo,
        device: torch.device,
        name: str = "onnxruntime",
        use_tensorrt: bool = False,
        tell: Tell | None = None,
    ) -> None:
        require("onnxruntime", "onnx", "ONNX Runtime")
        import onnxruntime

        self.name = name
        self.info = info
        self.model: BlitzNet | None = model
        key = fingerprint(model, "onnx", ("onnx", "onnxscript"))
        choose = _tensorrt_providers if use_tensorrt else _providers
        wanted = choose(device, onnxruntime.get_available_providers(), key)
        self._session = read_cached(
            key,
            lambda folder: network_to_onnx(model, folder / _FILE),
            lambda folder: open_session(folder / _FILE, wanted),
            tell,
        )
        self._names = output_names(model.config)
        self._anchors = anchors_of(model.config)

    def close(self) -> None:
        """See `Engine.close`."""

    def run(self, pixels: np.ndarray, score: float) -> EngineOutput:
        """See `Engine.run`."""
        start = perf_counter()
        outputs = self._session.run(self._names, {INPUT_NAME: pixels})
        network_ms = (perf_counter() - start) * 1000
        raw = as_raw(dict(zip(self._names, map(torch.from_numpy, outputs), strict=True)))
        return decode_output(raw, self._anchors, self.info.model.image_size, score, network_ms)


def _providers(device: torch.device, available: list[str], _key: str) -> list[Any]:
    if device.type == "cpu":
        return ["CPUExecutionProvider"]
    if device.type != "cuda" or "CUDAExecutionProvider" not in available:
        raise InputError(
            f"this onnxruntime runs on {', '.join(available)}, not on {device}; "
            "install onnxruntime-gpu for CUDA, or use --device cpu"
        )
    return [("CUDAExecutionProvider", {"device_id": device.index or 0}), "CPUExecutionProvider"]


def _tensorrt_providers(device: torch.device, available: list[str], key: str) -> list[Any]:
    if device.type != "cuda" or "TensorrtExecutionProvider" not in available:
        raise InputError(
            "TensorRT needs a CUDA device, onnxruntime-gpu and TensorRT's own libraries; "
            f"this onnxruntime runs on {', '.join(available)}, the device is {device}"
        )
    from blitznet.cache import cache_folder

    engines = cache_folder() / "tensorrt" / key
    settings = {
        "device_id": device.index or 0,
        "trt_fp16_enable": True,
        "trt_engine_cache_enable": True,
        "trt_engine_cache_path": str(engines),
    }
    return [("TensorrtExecutionProvider", settings), *_providers(device, available, key)]
