"""The OpenVINO engine on a CPU, in float32 or bfloat16; int8 is a property of the file."""

from pathlib import Path
from queue import SimpleQueue
from typing import TYPE_CHECKING, Literal

import numpy as np

from blitznet.cpu import is_limited, usable_cores
from blitznet.errors import CheckpointError, one_line
from blitznet.extras import require
from blitznet.inference.engines.engine import EngineThreads, ExportedEngine
from blitznet.model_files import METADATA_KEY, parse_export_info, read_exported_file, require_finite

if TYPE_CHECKING:
    import openvino

# What to optimise: `latency` runs one image on all cores, `throughput` several at once on fewer
# cores each.
Hint = Literal["latency", "throughput"]


class OpenVinoEngine(ExportedEngine):
    """Runs an exported file in OpenVINO; see `Engine`.

    It is compiled for one image, and runs a batch image by image: fixed shapes are faster than
    dynamic ones, and one image is enough to use a CPU fully.

    Args:
        path: NAME.onnx, or NAME.xml with NAME.bin next to it.
        is_bfloat16: whether to compute in bfloat16.
        hint: what to optimise.
        threads: total number of threads; None = OpenVINO's default.

    Raises:
        CheckpointError: if the file is damaged, or was not made by `blitznet export`.
        InputError: if OpenVINO is not installed.
    """

    device = "cpu"

    def __init__(
        self,
        path: Path,
        is_bfloat16: bool = False,
        hint: Hint = "latency",
        threads: int | None = None,
    ) -> None:
        import openvino

        self.name = "openvino-bf16" if is_bfloat16 else "openvino"
        model = read_exported(path)
        self.info = parse_export_info(path, openvino_metadata(model))
        side = self.info.model.image_size
        for result in model.get_results():
            if "seg_map" in result.output(0).get_names():
                model.remove_result(result)
        settings: dict[str, str | int | bool] = {"PERFORMANCE_HINT": hint.upper()}
        if threads is not None or is_limited():
            # Pinned threads of several workers would share the first cores.
            settings |= {"INFERENCE_NUM_THREADS": threads or usable_cores()}
            settings |= {"ENABLE_CPU_PINNING": False}
        if self.info.precision != "int8":  # in int8, OpenVINO chooses for the rest
            settings["INFERENCE_PRECISION_HINT"] = "bf16" if is_bfloat16 else "f32"
        stated = model.input(0).partial_shape
        if not stated.compatible(openvino.PartialShape([-1, side, side, 3])):
            raise CheckpointError(f"{path} takes {stated}, but its metadata says S = {side}")
        try:
            model.reshape([1, side, side, 3])
            self._compiled = openvino.Core().compile_model(model, "CPU", settings)
        except RuntimeError as error:
            raise _unusable(path, error) from None
        at_once = self._compiled.get_property("OPTIMAL_NUMBER_OF_INFER_REQUESTS")
        self._workers = EngineThreads(at_once)
        # Twice as many requests: while one's results are copied, the next one runs.
        self._num_requests = 2 * at_once
        self._requests: SimpleQueue[openvino.InferRequest | None] = SimpleQueue()
        for _ in range(self._num_requests):
            self._requests.put(self._compiled.create_infer_request())
        self._require_sound(path)

    def _outputs(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        if len(pixels) == 1:
            return self._run_one(pixels)
        singles = [pixels[index : index + 1] for index in range(len(pixels))]
        found = list(self._workers.map(self._run_one, singles))
        return {name: np.concatenate([one[name] for one in found]) for name in self._wanted}

    def close(self) -> None:
        self._workers.shutdown()
        for _ in range(self._num_requests):  # waits for those that run
            self._requests.get()
        self._requests.put(None)
        del self._compiled

    def _run_one(self, pixels: np.ndarray) -> dict[str, np.ndarray]:
        """Run on (1, S, S, 3) uint8 pixels."""
        request = self._requests.get()
        try:
            if request is None:
                raise RuntimeError("the engine is closed")
            results = request.infer([pixels], share_inputs=True)
            return {name: results[name] for name in self._wanted}
        finally:
            self._requests.put(request)


def read_exported(path: Path) -> "openvino.Model":
    """Read an exported file as an OpenVINO graph with ONNX's semantics.

    ONNX's NMS drops boxes whose IoU exceeds the threshold, OpenVINO's also those that equal it, so
    the threshold is raised to the next floating-point number.

    Raises:
        CheckpointError: if the file is damaged, or has weights that are infinite or NaN.
    """
    require("openvino", "openvino", "OpenVINO")
    import openvino
    from openvino import opset13 as operators

    read_exported_file(path)
    try:
        model = openvino.Core().read_model(path)
    except RuntimeError as error:
        raise _unusable(path, error) from None
    if path.suffix == ".onnx":
        for operation in model.get_ops():
            if operation.get_type_name() == "NonMaxSuppression":
                iou = operation.input(3).get_source_output().get_node().data
                beyond = operators.constant(np.nextafter(iou, np.float32(np.inf)))
                operation.input(3).replace_source_output(beyond.output(0))
    else:
        for operation in model.get_ops():
            is_weight = operation.get_type_name() == "Constant"
            if is_weight and operation.get_output_element_type(0).is_real():
                is_finite = bool(np.isfinite(operation.data).all())
                require_finite(path, operation.get_friendly_name(), is_finite)
    return model


def _unusable(path: Path, error: RuntimeError) -> CheckpointError:
    reason = one_line(error)
    return CheckpointError(f"{path} cannot be opened by OpenVINO; it may be damaged ({reason})")


def openvino_metadata(model: "openvino.Model") -> str | None:
    """Metadata of an OpenVINO file, or of an ONNX file that OpenVINO has read."""
    for place in ([METADATA_KEY], ["framework", METADATA_KEY]):
        if model.has_rt_info(place):
            return str(model.get_rt_info(place).value)
    return None


def has_bfloat16() -> bool:
    """Whether OpenVINO supports bfloat16 on this CPU."""
    require("openvino", "openvino", "OpenVINO")
    import openvino

    try:
        return "BF16" in openvino.Core().get_property("CPU", "OPTIMIZATION_CAPABILITIES")
    except RuntimeError:  # no memory to load its library; `OpenVinoEngine` raises that
        return False
