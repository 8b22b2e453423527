"""Which ways there are to run a trained network, and which of them is the fastest here."""

import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import torch
from torch import nn

from blitznet.cache import CACHE_VARIABLE as CACHE_VARIABLE
from blitznet.device import choose_device, has_fast_bfloat16
from blitznet.errors import InputError
from blitznet.extras import require
from blitznet.inference.engines.conversion_cache import Tell
from blitznet.inference.engines.engine import Engine
from blitznet.inference.engines.exported import LIBRARIES, is_exported, open_exported
from blitznet.inference.engines.onnx_runtime import OnnxEngine
from blitznet.inference.engines.openvino_runtime import (
    Hint,
    OpenVinoEngine,
    Precision,
    convert,
    has_bfloat16,
)
from blitznet.inference.engines.quantization import quantize
from blitznet.inference.engines.torch_engine import TorchEngine
from blitznet.model.blitznet import BlitzNet
from blitznet.model.checkpoint import load_checkpoint
from blitznet.model_files import CheckpointInfo, default_model, find_checkpoint

AUTO = "auto"
RUNTIME_VARIABLE = "BLITZNET_RUNTIME"
PLAIN = "torch"  # in float32, which the others are measured by


@dataclass(frozen=True)
class Settings:
    """How a network shall be run.

    Attributes:
        device: where.
        hint: what OpenVINO makes fast: one picture (`latency`) or many (`throughput`).
        calibrate: data description with pictures for int8.
        tell: is told in one line what is going on; None = problems are warnings.
    """

    device: torch.device
    hint: Hint = "latency"
    calibrate: Path | None = None
    tell: Tell | None = None


Open = Callable[[BlitzNet, CheckpointInfo, Settings], Engine]


def _torch(name: str, is_bfloat16: bool = False, is_compiled: bool = False) -> Open:
    return lambda model, info, settings: TorchEngine(
        model, info, settings.device, name, is_bfloat16, is_compiled
    )


def _onnxruntime(model: BlitzNet, info: CheckpointInfo, settings: Settings) -> Engine:
    return OnnxEngine(model, info, settings.device, tell=settings.tell)


def _tensorrt(model: BlitzNet, info: CheckpointInfo, settings: Settings) -> Engine:
    return OnnxEngine(model, info, settings.device, "tensorrt", True, settings.tell)


def _openvino(model: BlitzNet, info: CheckpointInfo, settings: Settings) -> Engine:
    return OpenVinoEngine(
        convert(model, settings.tell), model, info, "openvino", "f32", settings.hint
    )


def _openvino_bf16(model: BlitzNet, info: CheckpointInfo, settings: Settings) -> Engine:
    return OpenVinoEngine(
        convert(model, settings.tell), model, info, "openvino-bf16", "bf16", settings.hint
    )


def _openvino_int8(model: BlitzNet, info: CheckpointInfo, settings: Settings) -> Engine:
    converted = quantize(model, settings.calibrate, settings.tell)
    precision: Precision = "bf16" if has_bfloat16() else "f32"
    return OpenVinoEngine(converted, model, info, "openvino-int8", precision, settings.hint)


@dataclass(frozen=True)
class Way:
    """A way to run a checkpoint.

    Attributes:
        open: makes it ready.
        devices: kinds that it runs on.
        extra: of this package, that it needs; None = the base installation will do.
        packages: that the extra installs.
    """

    open: Open
    devices: tuple[str, ...]
    extra: str | None = None
    packages: tuple[str, ...] = ()


_ONNX = ("onnx", "onnxscript", "onnxruntime")

RUNTIMES: dict[str, Way] = {
    "torch": Way(_torch("torch"), ("cpu", "cuda", "mps")),
    "torch-bf16": Way(_torch("torch-bf16", is_bfloat16=True), ("cpu", "cuda")),
    "torch-compile": Way(_torch("torch-compile", is_compiled=True), ("cpu", "cuda")),
    "torch-compile-bf16": Way(_torch("torch-compile-bf16", True, True), ("cpu", "cuda")),
    "onnxruntime": Way(_onnxruntime, ("cpu", "cuda"), "onnx", _ONNX),
    "openvino": Way(_openvino, ("cpu",), "openvino", ("openvino",)),
    "openvino-bf16": Way(_openvino_bf16, ("cpu",), "openvino", ("openvino",)),
    "openvino-int8": Way(_openvino_int8, ("cpu",), "openvino,quantize", ("openvino", "nncf")),
    "tensorrt": Way(_tensorrt, ("cuda",), "onnx", _ONNX),
}

# What `auto` tries, fastest first, of those whose results are those of float32 within half a point
# of mAP and mIoU; docs/runtimes.md. What compiles for minutes or wants pictures is left to be asked
# for.
FASTEST: dict[str, tuple[str, ...]] = {
    "cpu": ("openvino-bf16", "openvino", "torch-bf16", "onnxruntime", "torch"),
    "cuda": ("torch-bf16", "torch"),
    "mps": ("torch",),
}

# PyTorch is slow on a CPU at convolutions of few channels each, as in mobile networks, and bfloat16
# makes that no better (results/bench.json).
FASTEST_GROUPED_ON_CPU = ("openvino-bf16", "openvino", "onnxruntime", "torch-bf16", "torch")


def fastest_runtimes(model: nn.Module, device: torch.device) -> list[str]:
    """What `auto` tries for a network, fastest first, of what is here."""
    is_grouped = any(isinstance(part, nn.Conv2d) and part.groups > 1 for part in model.modules())
    grouped_on_cpu = is_grouped and device.type == "cpu"
    names = FASTEST_GROUPED_ON_CPU if grouped_on_cpu else FASTEST[device.type]
    return [name for name in names if _fits(name, device)]


def runtimes_here(device: torch.device) -> list[str]:
    """Names of RUNTIMES that are installed and that the device has instructions for."""
    return [name for name in RUNTIMES if _fits(name, device)]


def open_engine(
    name_or_path: str | os.PathLike[str] | None,
    runtime: str | None = AUTO,
    device: str | torch.device = AUTO,
    *,
    hint: Hint = "latency",
    calibrate: Path | None = None,
    tell: Tell | None = None,
) -> Engine:
    """A trained network, ready to run.

    Args:
        name_or_path: a bundled network, a checkpoint, or a file made by `blitznet export`; None =
            the best bundled network.
        runtime: of RUNTIMES, or `auto`; for an exported file, of `exported.LIBRARIES`; None =
            PLAIN, and an exported file's own library.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        hint: what OpenVINO makes fast: one picture (`latency`) or many (`throughput`).
        calibrate: data description with pictures for int8.
        tell: is told in one line what is going on; None = problems are warnings.

    Raises:
        CheckpointError: if there is no such network, or the file is unusable.
        InputError: if the runtime or the device does not exist, or a package is missing.
    """
    name = default_model() if name_or_path is None else os.fspath(name_or_path)
    if is_exported(Path(name)):
        return open_exported(Path(name), runtime or AUTO, device)
    runtime = runtime or PLAIN
    settings = Settings(device_for(runtime, device), hint, calibrate, tell)
    require_runtime(runtime, settings.device)
    model, info = load_checkpoint(find_checkpoint(name))
    return open_network(model, info, runtime, settings)


def open_network(
    model: BlitzNet,
    info: CheckpointInfo,
    runtime: str,
    settings: Settings,
) -> Engine:
    """As `open_engine`, of a network in memory. PyTorch in float32 runs on `model` itself.

    Args:
        model: with its weights.
        info: what its checkpoint says of it.
        runtime: of RUNTIMES, or `auto`.
        settings: where and how.

    Raises:
        InputError: if the runtime does not exist or cannot be had.
    """
    require_runtime(runtime, settings.device)
    if runtime != AUTO:
        return RUNTIMES[runtime].open(model, info, settings)
    *others, last = fastest_runtimes(model, settings.device)
    for name in others:
        try:
            return RUNTIMES[name].open(model, info, settings)
        except (InputError, ImportError, OSError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            problem = f"{name} cannot be used ({reason}); the next best runtime is taken"
            if settings.tell is None:
                warnings.warn(problem, stacklevel=2)
            else:
                settings.tell(problem)
    return RUNTIMES[last].open(model, info, settings)


def usual_runtime(name_or_path: str | os.PathLike[str] | None) -> str:
    """What runs a network where nobody says it: what BLITZNET_RUNTIME names, else `auto`.

    Args:
        name_or_path: of the network. An exported file is run by its own library where the variable
            names none that can.

    Raises:
        InputError: if the variable names no runtime at all.
    """
    usual = os.environ.get(RUNTIME_VARIABLE) or AUTO
    if usual == AUTO:
        return AUTO
    libraries = {library for fitting in LIBRARIES.values() for library in fitting}
    if usual not in RUNTIMES and usual not in libraries:
        names = ", ".join((AUTO, *RUNTIMES))
        raise InputError(f"{RUNTIME_VARIABLE}: no runtime is called {usual!r}; there are {names}")
    path = Path(name_or_path or "")
    return AUTO if is_exported(path) and usual not in LIBRARIES[path.suffix] else usual


def device_for(runtime: str, device: str | torch.device = AUTO) -> torch.device:
    """The device that a user names; of `auto`, one that the runtime runs on.

    Raises:
        InputError: if there is no such device.
    """
    chosen = choose_device(device)
    way = RUNTIMES.get(runtime)
    if str(device) == AUTO and way is not None and chosen.type not in way.devices:
        return torch.device(way.devices[0])
    return chosen


def require_runtime(runtime: str, device: torch.device) -> None:
    """Make sure that a runtime can be had before anything large is read.

    Raises:
        InputError: if there is none of that name, or it lacks a package or the device.
    """
    if runtime == AUTO:
        return
    if runtime not in RUNTIMES:
        names = ", ".join((AUTO, *RUNTIMES))
        raise InputError(f"no runtime is called {runtime!r}; there are {names}")
    way = RUNTIMES[runtime]
    for package in way.packages:
        if package == "nncf":
            continue  # what was calibrated earlier runs without it
        assert way.extra is not None
        require(package, way.extra, f"the runtime {runtime}")
    if device.type not in way.devices:
        fitting = [name for name, other in RUNTIMES.items() if device.type in other.devices]
        raise InputError(
            f"the runtime {runtime} runs on {' and '.join(way.devices)}, not on {device.type}; "
            f"there, take {', '.join(fitting)}"
        )


def _fits(name: str, device: torch.device) -> bool:
    """Whether a runtime is installed and at home on a device."""
    way = RUNTIMES[name]
    if device.type not in way.devices or not all(map(is_installed, way.packages)):
        return False
    if name == "tensorrt":
        import onnxruntime

        return "TensorrtExecutionProvider" in onnxruntime.get_available_providers()
    if name == "openvino-bf16":
        return has_bfloat16()
    if name in ("torch-bf16", "torch-compile-bf16"):
        return has_fast_bfloat16(device)
    return True


def is_installed(package: str) -> bool:
    """Whether a package could be imported."""
    return find_spec(package) is not None


def engines_here(device: str | torch.device = AUTO) -> list[str]:
    """Names of engines that are installed and that the device has instructions for."""
    return runtimes_here(choose_device(device))
