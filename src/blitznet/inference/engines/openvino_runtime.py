"""OpenVINO on a CPU: in float32, in bfloat16, in int8."""

from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from queue import SimpleQueue
from time import perf_counter
from typing import TYPE_CHECKING, Literal

import numpy as np
import torch

from blitznet.detection.anchors import anchors_of
from blitznet.errors import InputError
from blitznet.extras import require
from blitznet.inference.engines.conversion_cache import Tell, fingerprint, read_cached
from blitznet.inference.engines.decoding import decode_output, join_outputs
from blitznet.inference.engines.engine import EngineOutput
from blitznet.inference.engines.pixel_network import (
    as_raw,
    export_program,
    output_names,
    without_warnings,
)
from blitznet.model.blitznet import BlitzNet
from blitznet.model_files import CheckpointInfo

if TYPE_CHECKING:
    import openvino

# What a picture should be fast in: `latency` gives one all cores, `throughput` looks at several at
# once, each on fewer cores.
Hint = Literal["latency", "throughput"]

# Of what is not int8.
Precision = Literal["f32", "bf16"]

MODEL_FILE = "network.xml"


class OpenVinoEngine:
    """A converted network in OpenVINO; see `Engine`.

    It is compiled for one picture, and a batch is looked at picture by picture: fixed shapes are
    faster than free ones, and a CPU is busy with one picture already.

    Args:
        converted: the graph, see `convert` and `quantization.quantize`.
        model: that it was made of.
        info: what its checkpoint says of it.
        name: of the runtime.
        precision: of the convolutions that are not int8.
        hint: what should be fast.
    """

    def __init__(
        self,
        converted: "openvino.Model",
        model: BlitzNet,
        info: CheckpointInfo,
        name: str,
        precision: Precision,
        hint: Hint = "latency",
    ) -> None:
        import openvino

        self.name = name
        self.info = info
        self.model: BlitzNet | None = model
        side = info.model.image_size
        converted.reshape([1, side, side, 3])
        settings = {"INFERENCE_PRECISION_HINT": precision, "PERFORMANCE_HINT": hint.upper()}
        self._compiled = openvino.Core().compile_model(converted, "CPU", settings)
        self._names = output_names(info.model)
        self._anchors = anchors_of(info.model)
        at_once = self._compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
        self._workers = ThreadPoolExecutor(at_once, "blitznet-network")
        # As many again: while one is decoded, whose memory is the request's, the next one runs.
        self._requests: SimpleQueue[openvino.InferRequest] = SimpleQueue()
        for _ in range(2 * at_once):
            self._requests.put(self._compiled.create_infer_request())
        self._at_once = at_once

    def close(self) -> None:
        """See `Engine.close`."""

    def run(self, pixels: np.ndarray, score: float) -> EngineOutput:
        """See `Engine.run`."""
        if len(pixels) == 1:
            return self._run_one(pixels, score)
        singles = [pixels[index : index + 1] for index in range(len(pixels))]
        outputs = list(self._workers.map(lambda one: self._run_one(one, score), singles))
        return join_outputs(outputs, sum(o.network_ms or 0 for o in outputs) / self._at_once)

    def _run_one(self, pixels: np.ndarray, score: float) -> EngineOutput:
        """pixels: (1, S, S, 3) uint8."""
        request = self._requests.get()
        try:
            start = perf_counter()
            results = request.infer([pixels], share_inputs=True, share_outputs=True)
            network_ms = (perf_counter() - start) * 1000
            tensors = (torch.from_numpy(results[index]) for index in range(len(self._names)))
            raw = as_raw(dict(zip(self._names, tensors, strict=True)))
            return decode_output(raw, self._anchors, self.info.model.image_size, score, network_ms)
        finally:
            self._requests.put(request)


def convert(network: BlitzNet, tell: Tell | None = None) -> "openvino.Model":
    """The graph of a network, from the cache or made now.

    Args:
        network: with its weights.
        tell: is told that there is something to wait for.

    Raises:
        InputError: if OpenVINO is missing or cannot convert the network.
    """
    require("openvino", "openvino", "OpenVINO")
    key = fingerprint(network, "openvino", ("openvino",))
    return read_cached(key, lambda folder: _convert_into(network, folder), read_model, tell)


def read_model(folder: Path) -> "openvino.Model":
    """MODEL_FILE of a folder."""
    import openvino

    return openvino.Core().read_model(folder / MODEL_FILE)


def save_model(model: "openvino.Model", folder: Path) -> None:
    """Write MODEL_FILE and its weights, in full precision."""
    import openvino

    openvino.save_model(model, folder / MODEL_FILE, compress_to_fp16=False)


def has_bfloat16() -> bool:
    """Whether this CPU has instructions for it that OpenVINO uses."""
    require("openvino", "openvino", "OpenVINO")
    import openvino

    return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def _convert_into(network: BlitzNet, folder: Path) -> None:
    import openvino

    try:
        with without_warnings():
            model = openvino.convert_model(export_program(network))
    except openvino.frontend.OpConversionFailure as error:
        raise InputError(f"OpenVINO cannot convert {network.config.name}: {error}") from error
    for output, name in zip(model.outputs, output_names(network.config), strict=True):
        output.get_tensor().set_names({name})
    save_model(model, folder)
