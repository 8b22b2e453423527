"""Where training takes its pictures from: files, or memory that holds them all decoded."""

import os
from collections.abc import Iterator, Sequence
from typing import Literal, get_args

import torch

from blitznet.data.loader import TrainingSamples, training_batches
from blitznet.data.resident.batches import decoded_batches, rendered_batches
from blitznet.data.resident.layout import free_bytes, measure, require_room
from blitznet.data.resident.store import load_store
from blitznet.errors import InputError
from blitznet.structures import Batch

# workers: processes read, decode and augment. device: everything is decoded before the first step
# and stays on the device; a GPU augments there in batches, a CPU as ever, with workers.
InputMode = Literal["workers", "device"]


def find_input_modes(names: Sequence[str]) -> tuple[InputMode, ...]:
    """The modes of these names.

    Raises:
        InputError: if one is not the name of a mode.
    """
    modes: dict[str, InputMode] = {mode: mode for mode in get_args(InputMode)}
    for name in names:
        if name not in modes:
            raise InputError(f"an input is {' or '.join(modes)}, not {name!r}")
    return tuple(modes[name] for name in names)


def open_batches(
    mode: InputMode,
    samples: TrainingSamples,
    positions: Iterator[list[int]],
    num_workers: int,
    device: torch.device,
    largest_size: int,
    processes: int = 1,
    show_progress: bool = True,
) -> Iterator[Batch]:
    """Batches in order; the same ones in every mode, up to rounding of grey levels.

    Closing the iterator ends the workers.

    Args:
        mode: how.
        samples: of the run.
        positions: of the samples, a list a batch.
        num_workers: processes that prepare batches ahead; 0 = none.
        device: that trains.
        largest_size: the largest S that samples are drawn at.
        processes: of this run that share the device's memory.
        show_progress: of decoding, to people.

    Raises:
        InputError: if a picture cannot be used, or all of them decoded do not fit into memory.
        WorkerError: if a worker process dies.
    """
    if mode == "workers":
        pin_memory = device.type == "cuda"
        return training_batches(samples, positions, num_workers, pin_memory)
    threads = max(1, (os.cpu_count() or 1) // processes)
    layout = measure(samples.sources, largest_size, threads, show_progress)
    free = free_bytes(device)
    require_room(layout, device, None if free is None else free // processes)
    store = load_store(samples.sources, layout, device, threads, show_progress)
    if device.type == "cpu":
        return decoded_batches(samples, store, positions, num_workers)
    return rendered_batches(samples, store, positions, num_workers)
