"""Choose the engine and device for a network, for `load()` and every command."""

import os
import shutil
import warnings
from collections.abc import Iterable
from dataclasses import dataclass, replace
from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from blitznet.device import choose_device, device_kind, has_fast_bfloat16
from blitznet.errors import BlitzNetError, CheckpointError, InputError, one_line
from blitznet.extras import require
from blitznet.inference.engines.converted import exported_checkpoint
from blitznet.inference.engines.engine import Engine, OnMessage
from blitznet.inference.engines.onnxruntime_engine import OnnxRuntimeEngine, has_cuda
from blitznet.inference.engines.openvino_engine import Hint, OpenVinoEngine, has_bfloat16
from blitznet.model_files import NetworkFiles, find_network

AUTO = "auto"
ENGINE_VARIABLE = "BLITZNET_ENGINE"


@dataclass(frozen=True)
class EngineSpec:
    """Properties and requirements of an engine.

    Attributes:
        backend: the library that runs the network; only torch runs checkpoints, only the others
            exported files.
        devices: kinds of device that it runs on.
        is_bfloat16: whether it computes in bfloat16.
        modules: required modules besides the base installation.
        extra: extra of this package that installs them.
    """

    backend: Literal["onnxruntime", "openvino", "torch"]
    devices: tuple[str, ...] = ("cpu",)
    is_bfloat16: bool = False
    modules: tuple[str, ...] = ()
    extra: str = ""


_ONNXRUNTIME = EngineSpec("onnxruntime", devices=("cpu", "cuda"))
_OPENVINO = EngineSpec("openvino", modules=("openvino",), extra="openvino")
_TORCH = EngineSpec(
    "torch", devices=("cpu", "cuda"), modules=("torch", "torchvision", "timm"), extra="train"
)
ENGINES = {
    "onnxruntime": _ONNXRUNTIME,
    "openvino": _OPENVINO,
    "openvino-bf16": replace(_OPENVINO, is_bfloat16=True),
    "torch": _TORCH,
    "torch-bf16": replace(_TORCH, is_bfloat16=True),
}

# Engines within half a point of float32's mAP and mIoU, fastest first (docs/engines.md).
AUTO_ORDER: dict[str, tuple[str, ...]] = {
    "cpu": ("openvino-bf16", "openvino", "onnxruntime", "torch"),
    "cuda": ("torch-bf16", "torch", "onnxruntime"),
}


def open_engine(
    name_or_path: str | os.PathLike[str] | None = None,
    engine: str | None = None,
    device: str = AUTO,
    *,
    hint: Hint = "latency",
    threads: int | None = None,
    on_message: OnMessage | None = None,
) -> Engine:
    """Open a trained network; the arguments are those of `blitznet.load`.

    Raises:
        CheckpointError: if there is no such network, or the file is unusable.
        InputError: if the engine or the device does not exist, or a package is missing.
    """
    network = find_network(name_or_path)
    engine = usual_engine(engine)
    if device == AUTO:
        wanted = AUTO_ORDER["cuda"] if engine == AUTO else (engine,)
        device = "cuda" if _has_gpu() and _usable(wanted, network, "cuda") else "cpu"
    kind = device_kind(device)
    if engine == AUTO:
        *others, last = _candidates(network, kind)
    else:
        _require_fitting(engine, kind)
        others, last = [], engine
    for name in others:
        try:
            return _open(name, network, device, hint, threads, on_message)
        except CheckpointError:
            raise
        except (BlitzNetError, ImportError, OSError, RuntimeError) as error:
            problem = f"{name} cannot be used ({one_line(error)}); trying the next best engine"
            report(problem, on_message)
    return _open(last, network, device, hint, threads, on_message)


def report(problem: str, on_message: OnMessage | None) -> None:
    """Pass a problem to `on_message`; None = warn."""
    if on_message is None:
        warnings.warn(problem, stacklevel=3)
    else:
        on_message(problem)


def usual_engine(asked: str | None = None) -> str:
    """Return `asked`, or if that is None, the value of BLITZNET_ENGINE or else `auto`.

    Raises:
        InputError: if there is no such engine.
    """
    chosen = asked if asked is not None else os.environ.get(ENGINE_VARIABLE) or AUTO
    if chosen not in (AUTO, *ENGINES):
        variable = "" if asked is not None else f"{ENGINE_VARIABLE}: "
        known = ", ".join((AUTO, *ENGINES))
        raise InputError(f"{variable}no engine is called {chosen!r}; choose from {known}")
    return chosen


def engines_here(device: str = AUTO) -> list[str]:
    """Names of the engines that are installed and supported by the device."""
    kind = device_kind(device) if device != AUTO else "cuda" if _has_gpu() else "cpu"
    return [name for name, spec in ENGINES.items() if _fits(spec, kind)]


def _require_fitting(engine: str, kind: str) -> None:
    """Raise InputError if the engine lacks a package or does not run on the kind of device."""
    spec = ENGINES[engine]
    for module in spec.modules:
        require(module, spec.extra, f"the engine {engine}")
    if kind not in spec.devices:
        fitting = [name for name, other in ENGINES.items() if kind in other.devices]
        raise InputError(
            f"the engine {engine} runs on {' and '.join(spec.devices)}, not on {kind}; "
            f"use {', '.join(fitting)}"
        )


def _open(
    name: str,
    network: NetworkFiles,
    device: str,
    hint: Hint,
    threads: int | None,
    on_message: OnMessage | None,
) -> Engine:
    spec = ENGINES[name]
    if spec.backend == "torch":
        checkpoint = network.require_checkpoint()
        from blitznet.inference.engines.torch_engine import TorchEngine
        from blitznet.model.checkpoint import load_checkpoint

        model, info = load_checkpoint(checkpoint)
        if threads is not None:
            import torch

            torch.set_num_threads(threads)
        return TorchEngine(model, info, choose_device(device), spec.is_bfloat16)

    def open_file(path: Path) -> Engine:
        if spec.backend == "openvino":
            return OpenVinoEngine(path, spec.is_bfloat16, hint, threads)
        if path.suffix != ".onnx":
            raise InputError(f"{path} is run by openvino, not by {spec.backend}")
        return OnnxRuntimeEngine(path, device, threads)

    if network.exported is not None:
        return open_file(network.exported)
    path = exported_checkpoint(network.require_checkpoint(), on_message)
    try:
        return open_file(path)
    except CheckpointError:  # the cached file is damaged
        path.unlink(missing_ok=True)
        return open_file(exported_checkpoint(network.require_checkpoint(), on_message))


def _candidates(network: NetworkFiles, kind: str) -> list[str]:
    """List the installed engines that `auto` tries for a network, fastest first; at least one.

    Raises:
        CheckpointError: if no installed engine runs the network.
        InputError: if no installed engine runs on the kind of device.
    """
    exported, checkpoint = network.exported, network.checkpoint
    if exported is not None and exported.suffix == ".xml":
        require("openvino", "openvino", exported.name)
        return ["openvino"]
    names = _usable(AUTO_ORDER[kind], network, kind)
    if exported is None and not all(map(find_spec, ("torch", "onnx", "onnxscript"))):
        names = [name for name in names if ENGINES[name].backend == "torch"]
    if names:
        return names
    if exported is not None and kind != "cpu":
        raise InputError(
            f"no installed engine runs on {kind}; install onnxruntime-gpu or "
            "'blitznet[train]' (PyTorch), or leave the device out to run on the CPU"
        )
    if checkpoint is None:
        return ["onnxruntime"]  # opening it reports the missing package
    beside = checkpoint.with_suffix(".onnx")
    hint = f"give {beside}, or " if beside.is_file() else ""
    raise CheckpointError(
        f"{checkpoint} is a checkpoint, which needs PyTorch to run; {hint}"
        f"export it on a machine with PyTorch (blitznet export {checkpoint}), "
        "or run: pip install 'blitznet[train]'"
    )


def _usable(names: Iterable[str], network: NetworkFiles, kind: str) -> list[str]:
    """Filter engines to those that are installed and can run this network."""
    has_checkpoint = network.checkpoint is not None
    return [
        name
        for name in names
        if (has_checkpoint or ENGINES[name].backend != "torch") and _fits(ENGINES[name], kind)
    ]


def _has_gpu() -> bool:
    """Whether there is an NVIDIA GPU; checked without importing PyTorch."""
    return Path("/dev/nvidiactl").exists() or shutil.which("nvidia-smi") is not None


def _fits(spec: EngineSpec, kind: str) -> bool:
    """Whether an engine is installed and supports a kind of device."""
    if kind not in spec.devices or not all(map(find_spec, spec.modules)):
        return False
    if spec.backend == "openvino":
        return not spec.is_bfloat16 or has_bfloat16()
    if spec.backend == "onnxruntime":
        return kind == "cpu" or has_cuda()
    if kind == "cpu" and not spec.is_bfloat16:
        return True  # avoids importing PyTorch
    import torch

    if kind == "cuda" and not torch.cuda.is_available():
        return False
    return not spec.is_bfloat16 or has_fast_bfloat16(torch.device(kind))
