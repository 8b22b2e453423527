"""`blitznet bench train`: how fast networks learn, with and without real input."""

from collections.abc import Callable, Iterator, Sequence
from itertools import repeat
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import torch
from lightning_fabric import Fabric

from blitznet.bench.drawn_pictures import DrawnSource
from blitznet.bench.machine import describe_machine, synchronizer
from blitznet.bench.memory import in_own_process, most_resident_mib
from blitznet.bench.race import Laps, Milliseconds, spread
from blitznet.bench.train_record import TrainRecord, TrainRow
from blitznet.classes import VOC_CLASSES
from blitznet.data.description import read_description
from blitznet.data.loader import TrainingSamples, batch_positions, training_batches
from blitznet.data.source import LabelSource
from blitznet.device import choose_device
from blitznet.model_info import find_model
from blitznet.progress import with_progress
from blitznet.structures import Batch
from blitznet.training.options import FABRIC_PRECISION, usable_precision
from blitznet.training.recipe import RECIPES, Recipe, fit_to_classes
from blitznet.training.step import Learner

_WARM_UP = 2  # steps, with either input
_DRAWN_PICTURES = 32
_BATCH_ON_CPU = 8

# Of one step.
_WAIT, _STEP, _TOTAL = "wait", "step", "total"

CLOCKS = {
    "fixed batch": "copy to the device, normalise, forward, loss, backward, update, averaged"
    " weights; always with one batch that lies in memory",
    "real input": "the same, with every batch from pictures: read, decoded and augmented by"
    " workers, which read ahead",
    "waiting": "share of the latter in which the device waits for the next batch, or makes it",
    "opened": "until the first batch can be asked for: workers start later, a set is decoded here",
}


def bench_train(
    networks: Sequence[str],
    data: Path | None,
    split: str,
    steps: int,
    batch: int | None,
    workers: int,
    device_name: str,
) -> TrainRecord:
    """Everything that `blitznet bench train` says.

    Args:
        networks: members of the family, which start with random weights.
        data: description; None = drawn pictures.
        split: of it.
        steps: that count, with either input.
        batch: pictures a step; None = as the recipe says on a GPU, 8 on a CPU.
        workers: processes that read pictures.
        device_name: as `choose_device` takes it.

    Raises:
        InputError: for a network, data or device that does not exist.
    """
    device = choose_device(device_name)
    num_classes = len(read_description(data).classes if data is not None else VOC_CLASSES)
    recipes = [_recipe(name, num_classes, batch, device) for name in networks]
    measured = (
        # Each in a process of its own, whose peak of memory is the network's.
        in_own_process(_measure, recipe, data, split, steps, workers, str(device))
        for recipe in recipes
    )
    return TrainRecord(
        machine=describe_machine(device),
        data=f"{data}, {split}" if data is not None else "drawn",
        workers=workers,
        steps=steps,
        clocks=CLOCKS,
        rows=tuple(with_progress(measured, len(recipes), "networks")),
    )


def _recipe(name: str, num_classes: int, batch: int | None, device: torch.device) -> Recipe:
    """The network's own recipe, or that of `blitznet300` for those without one."""
    model = find_model(name)
    recipe = RECIPES.get(name, RECIPES["blitznet300"])
    changes: dict[str, Any] = {
        "model": model,
        "backbone_weights": None,
        "start_from": None,
        "precision": usable_precision(recipe.precision, device),
    }
    if batch is not None or device.type == "cpu":
        changes["global_batch_size"] = batch or _BATCH_ON_CPU
    return fit_to_classes(recipe.model_copy(update=changes), num_classes)


def _measure(
    recipe: Recipe,
    data: Path | None,
    split: str,
    steps: int,
    workers: int,
    device_name: str,
) -> TrainRow:
    """One network, in this process."""
    device = torch.device(device_name)
    with TemporaryDirectory() as folder:
        sources = (
            read_description(data).open_split(split)
            if data is not None
            else [DrawnSource(Path(folder), _DRAWN_PICTURES)]
        )
        step, parameters = _training_step(recipe, device)
        fixed = next(_real_batches(recipe, sources, 1, 0, device))
        started = perf_counter()
        batches = _real_batches(recipe, sources, _WARM_UP + steps, workers, device)
        opened = perf_counter() - started
        alone = _time_steps(repeat(fixed), step, steps, device)
        real = _time_steps(batches, step, steps, device)
    size = recipe.global_batch_size
    seconds = sum(sample[_TOTAL] for sample in real) / 1000
    return TrainRow(
        network=recipe.model.name,
        batch=size,
        precision=recipe.precision,
        input_size=recipe.model.image_size,
        parameters=parameters,
        step_ms=spread([sample[_TOTAL] for sample in alone]),
        pictures_per_second=1000 * size / spread([sample[_TOTAL] for sample in alone]).median,
        real_pictures_per_second=size * len(real) / seconds,
        opened_s=opened,
        waiting=sum(sample[_WAIT] for sample in real) / 1000 / seconds,
        peak_memory_mib=_peak_memory_mib(device),
    )


def _training_step(recipe: Recipe, device: torch.device) -> tuple[Callable[[Batch], None], int]:
    """What the training loop does with a batch, and the number of parameters."""
    fabric = Fabric(
        accelerator=device.type,
        devices=[device.index or 0] if device.type == "cuda" else 1,
        precision=FABRIC_PRECISION[recipe.precision],
    )
    fabric.launch()
    fabric.seed_everything(recipe.seed, verbose=False)
    learner = Learner(fabric, recipe)

    def step(batch: Batch) -> None:
        learner.take_step(0, batch.to(device))

    return step, sum(parameter.numel() for parameter in learner.network.parameters())


def _real_batches(
    recipe: Recipe,
    sources: Sequence[LabelSource],
    steps: int,
    workers: int,
    device: torch.device,
) -> Iterator[Batch]:
    size = recipe.model.image_size
    samples = TrainingSamples(sources, size, recipe.augmentation, recipe.seed)
    positions = batch_positions(0, steps, recipe.global_batch_size, 0, 1)
    return training_batches(samples, positions, workers, device.type == "cuda")


def _time_steps(
    batches: Iterator[Batch], step: Callable[[Batch], None], steps: int, device: torch.device
) -> list[Milliseconds]:
    """Milliseconds of every step behind the first ones, which warm up."""
    samples = []
    for _ in range(_WARM_UP + steps):
        laps = Laps(synchronizer(device))
        batch = next(batches)
        laps.end(_WAIT)
        step(batch)
        laps.end(_STEP)
        samples.append(laps.milliseconds(1))
    return samples[_WARM_UP:]


def _peak_memory_mib(device: torch.device) -> float | None:
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated(device) / 2**20
    return most_resident_mib()
