"""Which engine runs a network, and where: one rule for `load()` and every command."""

import os
import re
import shutil
import warnings
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from blitznet.errors import BlitzNetError, CheckpointError, InputError
from blitznet.extras import require
from blitznet.inference.engines.converted import exported_checkpoint, quantized
from blitznet.inference.engines.engine import Engine, Tell
from blitznet.inference.engines.onnxruntime_engine import OnnxRuntimeEngine, has_cuda, has_tensorrt
from blitznet.inference.engines.openvino_engine import Hint, OpenVinoEngine, has_bfloat16
from blitznet.model_files import NetworkFiles, find_network

AUTO = "auto"
ENGINE_VARIABLE = "BLITZNET_ENGINE"


@dataclass(frozen=True)
class Kind:
    """What an engine needs.

    Attributes:
        devices: kinds that it runs on.
        packages: module and extra of what has to be installed.
        runs_files: whether it runs exported files; otherwise it runs checkpoints.
    """

    devices: tuple[str, ...]
    packages: tuple[tuple[str, str], ...] = ()
    runs_files: bool = True


_TORCH = (("torch", "train"), ("torchvision", "train"), ("timm", "train"))
_OPENVINO = (("openvino", "openvino"),)

ENGINES: dict[str, Kind] = {
    "onnxruntime": Kind(("cpu", "cuda")),
    "openvino": Kind(("cpu",), _OPENVINO),
    "openvino-bf16": Kind(("cpu",), _OPENVINO),
    "openvino-int8": Kind(("cpu",), _OPENVINO),
    "tensorrt": Kind(("cuda",)),
    "torch": Kind(("cpu", "cuda", "mps"), _TORCH, runs_files=False),
    "torch-bf16": Kind(("cpu", "cuda"), _TORCH, runs_files=False),
    "torch-compile": Kind(("cpu", "cuda"), _TORCH, runs_files=False),
    "torch-compile-bf16": Kind(("cpu", "cuda"), _TORCH, runs_files=False),
}

# Fastest first, of those whose results are those of float32 within half a point of mAP and mIoU
# (docs/engines.md). What compiles for minutes or wants images to calibrate is left to be asked for.
FASTEST: dict[str, tuple[str, ...]] = {
    "cpu": ("openvino-bf16", "openvino", "onnxruntime", "torch"),
    "cuda": ("torch-bf16", "torch", "onnxruntime"),
    "mps": ("torch",),
}


def open_engine(
    name_or_path: str | os.PathLike[str] | None = None,
    engine: str = AUTO,
    device: str = AUTO,
    *,
    hint: Hint = "latency",
    calibrate: Path | None = None,
    tell: Tell | None = None,
) -> Engine:
    """A trained network, ready to run.

    Args:
        name_or_path: a bundled network, an exported file or a checkpoint; None = the best bundled
            network.
        engine: of ENGINES, or `auto`, the fastest one here.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.
        hint: what OpenVINO makes fast: one image (`latency`) or many (`throughput`).
        calibrate: data description with images for `openvino-int8`, once for a network.
        tell: receives one line about what is going on; None = problems are warnings.

    Raises:
        CheckpointError: if there is no such network, or the file is unusable.
        InputError: if the engine or the device does not exist, or a package is missing.
    """
    network = find_network(name_or_path)
    place = _Place(_device_for(engine, device, network), hint, calibrate, tell)
    if engine != AUTO:
        require_engine(engine, place.device)
        return _open(engine, network, place)
    *others, last = _candidates(network, place.device)
    for name in others:
        try:
            return _open(name, network, place)
        except CheckpointError:
            raise
        except (BlitzNetError, ImportError, OSError, RuntimeError) as error:
            reason = " ".join(str(error).split())[:200]
            problem = f"{name} cannot be used ({reason}); the next best engine is taken"
            if tell is None:
                warnings.warn(problem, stacklevel=2)
            else:
                tell(problem)
    return _open(last, network, place)


def usual_engine() -> str:
    """What runs a network where nobody says it: what BLITZNET_ENGINE names, else `auto`.

    Raises:
        InputError: if the variable names no engine.
    """
    usual = os.environ.get(ENGINE_VARIABLE) or AUTO
    if usual != AUTO and usual not in ENGINES:
        raise InputError(f"{ENGINE_VARIABLE}: {_no_engine(usual)}")
    return usual


def engines_here(device: str = AUTO) -> list[str]:
    """Names of ENGINES that are installed and that the device has instructions for."""
    kind = (_gpu() or "cpu") if device == AUTO else parse_device(device)[0]
    return [name for name in ENGINES if _fits(name, kind)]


def require_engine(engine: str, device: str) -> None:
    """Make sure that an engine can be had before anything large is read.

    Raises:
        InputError: if there is none of that name, or it lacks a package or the device.
    """
    if engine not in ENGINES:
        raise InputError(_no_engine(engine))
    kind = ENGINES[engine]
    for module, extra in kind.packages:
        require(module, extra, f"the engine {engine}")
    device_kind = parse_device(device)[0]
    if device_kind not in kind.devices:
        fitting = [name for name, other in ENGINES.items() if device_kind in other.devices]
        raise InputError(
            f"the engine {engine} runs on {' and '.join(kind.devices)}, not on {device_kind}; "
            f"there, take {', '.join(fitting)}"
        )


def parse_device(name: str) -> tuple[str, int]:
    """`cuda:1` to kind and index.

    Raises:
        InputError: for what is no device's name.
    """
    match = re.fullmatch(r"(cpu|mps|cuda)(?::(\d+))?", name)
    if match is None or (match[2] and match[1] != "cuda"):
        raise InputError(f"a device is auto, cpu, cuda, cuda:N or mps, not {name!r}")
    return match[1], int(match[2] or 0)


@dataclass(frozen=True)
class _Place:
    """Where and how a network shall be run; see `open_engine`."""

    device: str
    hint: Hint
    calibrate: Path | None
    tell: Tell | None


def _open(name: str, network: NetworkFiles, place: _Place) -> Engine:
    if not ENGINES[name].runs_files:
        return _open_torch(name, network, place)
    path = network.exported or exported_checkpoint(network.require_checkpoint(), place.tell)
    if name.startswith("openvino"):
        if name == "openvino-int8" and path.suffix == ".onnx":
            path = quantized(path, place.calibrate, place.tell)
        return OpenVinoEngine(path, name, place.hint)
    if path.suffix != ".onnx":
        raise InputError(f"{path} is run by openvino, not by {name}")
    return OnnxRuntimeEngine(path, place.device, name == "tensorrt")


def _open_torch(name: str, network: NetworkFiles, place: _Place) -> Engine:
    checkpoint = network.require_checkpoint()
    from blitznet.device import choose_device
    from blitznet.inference.engines.torch_engine import TorchEngine
    from blitznet.model.checkpoint import load_checkpoint

    model, info = load_checkpoint(checkpoint)
    device = choose_device(place.device)
    return TorchEngine(model, info, device, name.endswith("-bf16"), "-compile" in name)


def _candidates(network: NetworkFiles, device: str) -> list[str]:
    """What `auto` tries for a network, fastest first, of what is here; at least one.

    Raises:
        CheckpointError: if nothing here runs it.
    """
    kind = parse_device(device)[0]
    names = [name for name in FASTEST[kind] if _fits(name, kind)]
    if network.exported is None:
        converts = all(find_spec(package) for package in ("torch", "onnx", "onnxscript"))
        names = [name for name in names if converts or not ENGINES[name].runs_files]
    elif network.exported.suffix == ".xml":
        names = ["openvino"]
        require("openvino", "openvino", f"{network.exported.name}")
    if network.checkpoint is None:
        names = [name for name in names if ENGINES[name].runs_files]
    if names:
        return names
    if network.checkpoint is None:
        return ["onnxruntime"]  # which says what it lacks
    exported = network.checkpoint.with_suffix(".onnx")
    beside = f"give {exported}, which lies beside it, or " if exported.is_file() else ""
    raise CheckpointError(
        f"{network.checkpoint} is a checkpoint, which takes PyTorch to run; {beside}"
        f"export it where PyTorch is (blitznet export {network.checkpoint}), "
        "or run: pip install 'blitznet[train]'"
    )


def _device_for(engine: str, device: str, network: NetworkFiles) -> str:
    """The device that a user names; of `auto`, a GPU if the engine and the network can use it."""
    if device != AUTO:
        parse_device(device)
        return device
    if engine in ENGINES and "cpu" not in ENGINES[engine].devices:
        return ENGINES[engine].devices[0]
    gpu = _gpu()
    if gpu is None:
        return "cpu"
    names = FASTEST[gpu] if engine == AUTO else (engine,)
    fitting = [name for name in names if name in ENGINES and _fits(name, gpu)]
    runs = [n for n in fitting if ENGINES[n].runs_files or network.checkpoint is not None]
    return gpu if runs else "cpu"


def _gpu() -> str | None:
    """`cuda` where there is an NVIDIA GPU; PyTorch is not imported to ask for one."""
    return "cuda" if Path("/dev/nvidiactl").exists() or shutil.which("nvidia-smi") else None


def _fits(name: str, device_kind: str) -> bool:
    """Whether an engine is installed and at home on a kind of device."""
    kind = ENGINES[name]
    if device_kind not in kind.devices or not all(find_spec(m) for m, _ in kind.packages):
        return False
    if name == "openvino-bf16":
        return has_bfloat16()
    if name == "tensorrt":
        return has_tensorrt()
    if name == "onnxruntime":
        return device_kind == "cpu" or has_cuda()
    return kind.runs_files or _torch_fits(device_kind, name.endswith("-bf16"))


def _torch_fits(device_kind: str, in_bfloat16: bool) -> bool:
    if device_kind == "cpu" and not in_bfloat16:
        return True  # so that PyTorch is not imported for nothing
    import torch

    from blitznet.device import has_fast_bfloat16

    if device_kind == "cuda" and not torch.cuda.is_available():
        return False
    return not in_bfloat16 or has_fast_bfloat16(torch.device(device_kind))


def _no_engine(name: str) -> str:
    return f"no engine is called {name!r}; there are {', '.join((AUTO, *ENGINES))}"
