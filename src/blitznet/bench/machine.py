"""What a benchmark ran on."""

import os
import platform
from collections.abc import Callable
from functools import partial
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import torch

from blitznet.bench.race import Laps, Milliseconds, repeat_for
from blitznet.bench.record import Machine

_PACKAGES = ("blitznet", "torch", "torchvision", "onnxruntime", "openvino", "tensorrt", "pillow")
_MATRIX_SIDE = 8192
_MATRIX_SECONDS = 1.0


def describe_machine(device: torch.device) -> Machine:
    """The machine as the benchmark finds it; on a GPU its matrix peak is measured."""
    cpu = cpu_name()
    is_cuda = device.type == "cuda"
    return Machine(
        device=torch.cuda.get_device_name(device) if is_cuda else cpu,
        device_type=device.type,
        cpu=cpu,
        cores=usable_cores(),
        threads=torch.get_num_threads(),
        memory_gib=memory_gib(),
        system=f"{platform.system()} {platform.machine()}",
        peak_tflops=matrix_peak(device) if is_cuda else None,
        versions={"python": platform.python_version()} | _versions(),
    )


def cpu_name() -> str:
    """By its maker's name where the system tells it, else the architecture."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text(encoding="utf-8", errors="replace").splitlines():
            key, _, value = line.partition(":")
            if key.strip() == "model name" and value.strip():
                return value.strip()
    return platform.processor() or platform.machine()


def usable_cores() -> int:
    """Cores that this process may use, which a container may make fewer than there are."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


def memory_gib() -> float | None:
    """Of the machine; None where the system cannot be asked."""
    try:
        pages, page = os.sysconf("SC_PHYS_PAGES"), os.sysconf("SC_PAGE_SIZE")
    except (AttributeError, ValueError, OSError):
        return None
    return round(pages * page / 2**30, 1)


def matrix_peak(
    device: torch.device, side: int = _MATRIX_SIDE, seconds: float = _MATRIX_SECONDS
) -> float:
    """10^12 operations a second of the fastest of many bf16 matrix products.

    Args:
        device: that multiplies.
        side: of both square matrices.
        seconds: for all, after one product that warms up.
    """
    one = torch.randn(side, side, device=device, dtype=torch.bfloat16)
    other = torch.randn(side, side, device=device, dtype=torch.bfloat16)

    def product() -> Milliseconds:
        laps = Laps(synchronizer(device))
        torch.mm(one, other)
        laps.end("product")
        return laps.milliseconds(1)

    product()
    fastest = min(sample["product"] for sample in repeat_for(product, seconds))
    return 2 * side**3 / (fastest / 1000) / 1e12


def synchronizer(device: torch.device) -> Callable[[], None] | None:
    """What waits until the device has done its work; None where calls return only then."""
    if device.type == "cpu":
        return None
    return partial(torch.accelerator.synchronize, device)


def _versions() -> dict[str, str]:
    found = {}
    for package in _PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
