"""The device that a network runs on. PyTorch is imported only inside the functions."""

import platform
import re
from typing import TYPE_CHECKING

from blitznet.errors import InputError, count_of

if TYPE_CHECKING:
    import torch


def device_kind(name: object) -> str:
    """Strip the index from a device name: `cuda:1` becomes `cuda`.

    Raises:
        InputError: for any other name.
    """
    if not isinstance(name, str) or not re.fullmatch(r"cpu|cuda(:\d+)?", name):
        raise InputError(f"a device is auto, cpu, cuda or cuda:N, not {name!r}")
    return name.partition(":")[0]


def choose_device(name: "str | torch.device" = "auto") -> "torch.device":
    """Convert a device name to a torch device.

    Args:
        name: `auto` (the first GPU if there is one, else the CPU), `cpu`, `cuda`, `cuda:N`.

    Raises:
        InputError: for any other name, or if PyTorch does not find that device.
    """
    import torch

    name = str(name)
    if name == "auto":
        return torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    device_kind(name)
    device = torch.device(name)
    if device.type == "cuda":
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        if (device.index or 0) >= count:
            found = count_of(count, "CUDA device") if count else "no CUDA device"
            raise InputError(f"no device {name}: PyTorch finds {found}; use cpu or auto")
    return device


def has_fast_bfloat16(device: "torch.device") -> bool:
    """Whether the device supports bfloat16 natively, without emulation."""
    import torch

    if device.type == "cuda":
        return bool(torch.cuda.is_bf16_supported(including_emulation=False))
    return bool(torch.cpu._is_avx512_bf16_supported() or torch.cpu._is_amx_tile_supported())


def hardware_name(device: "torch.device") -> str:
    """Name of the GPU, or architecture of the CPU and number of cores in use."""
    import torch

    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    cores = torch.get_num_threads()
    return f"{platform.machine()} CPU, {count_of(cores, 'core')}"
