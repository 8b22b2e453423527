"""How much memory a contestant needs: that of a process which does nothing else."""

import multiprocessing
import sys
from collections.abc import Callable, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing.context import ForkServerContext
from pathlib import Path
from typing import TypeVar

import torch

from blitznet.bench.contestant import Entry
from blitznet.bench.opening import Openings
from blitznet.bench.race import Laps
from blitznet.errors import InputError
from blitznet.image import read_picture

_LOOKS = 2

Result = TypeVar("Result")


def peak_memory_mib(
    entry: Entry,
    files: Sequence[Path],
    score: float,
    device: torch.device,
    calibrate: Path | None = None,
) -> float | None:
    """The most memory that a process takes to open an entry and to look at pictures twice.

    Args:
        entry: who.
        files: pictures; as many as the entry's batch are looked at, over again if they are fewer.
        score: least score of a box.
        device: where it runs; on a GPU it is the GPU's memory that counts.
        calibrate: data description with pictures for int8.

    Returns:
        2^20 bytes, libraries included; None where that cannot be told, or the process died.
    """
    try:
        return in_own_process(_measure_here, entry, list(files), score, str(device), calibrate)
    except (BrokenProcessPool, InputError):
        return None


def in_own_process(function: Callable[..., Result], *arguments: object) -> Result:
    """Call a function of a module in a process that has done nothing before.

    Raises:
        BrokenProcessPool: if the process dies, as one does that runs out of memory.
    """
    methods = multiprocessing.get_all_start_methods()
    context = multiprocessing.get_context("forkserver" if "forkserver" in methods else "spawn")
    if isinstance(context, ForkServerContext):  # which imports once for all, and runs nothing
        context.set_forkserver_preload([__name__])
    with ProcessPoolExecutor(1, mp_context=context) as pool:
        return pool.submit(function, *arguments).result()


def _measure_here(
    entry: Entry, files: list[Path], score: float, device_name: str, calibrate: Path | None
) -> float | None:
    device = torch.device(device_name)
    chosen = [files[index % len(files)] for index in range(entry.batch)]
    images = [read_picture(file) for file in chosen]
    contestant = Openings(images, score, device, calibrate).open(entry)
    for _ in range(_LOOKS):
        contestant.look(images, Laps())
    if device.type == "cuda":
        # Of other libraries PyTorch does not know.
        known = entry.runtime.startswith("torch")
        return torch.cuda.max_memory_allocated(device) / 2**20 if known else None
    return most_resident_mib()


def most_resident_mib() -> float | None:
    """The most main memory that this process has taken so far, 2^20 bytes; None on Windows."""
    if sys.platform == "win32":
        return None
    import resource

    most = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return most / (2**20 if sys.platform == "darwin" else 2**10)
