"""Measure training speed: whole steps with one batch in memory, and with batches from files.

    python benchmarks/training_steps.py --data DATA.yaml --steps 30 --workers 1 --json FILE

As in `blitznet train`, a step is: copy, normalise, forward, loss, backward, update, EMA. `waiting`
is the share of time spent waiting for batches.
"""

import json
from collections.abc import Callable, Iterator, Sequence
from itertools import repeat
from pathlib import Path
from time import perf_counter
from typing import Annotated, Any

import numpy as np
import torch
import typer
from lightning_fabric import Fabric

from blitznet.bench import describe_machine
from blitznet.data.description import read_description
from blitznet.data.loader import TrainingSamples, batch_positions, collate_samples, prepare_ahead
from blitznet.device import choose_device
from blitznet.model_info import find_model
from blitznet.structures import Batch
from blitznet.training.loop_options import FABRIC_PRECISION, usable_precision
from blitznet.training.recipe import RECIPES, Recipe
from blitznet.training.step import TrainState

WARM_UP = 2  # steps


def main(
    data: Annotated[Path, typer.Option(help="Data description.")],
    split: str = "train",
    network: Annotated[str, typer.Option(help="Name of a network.")] = "blitznet300-mobile",
    steps: int = 20,
    batch: Annotated[int, typer.Option(help="Images per step.")] = 8,
    workers: Annotated[int, typer.Option(help="Data-loading processes.")] = 2,
    device: str = "auto",
    json_file: Annotated[Path | None, typer.Option("--json")] = None,
) -> None:
    """Print milliseconds per step and images per second."""
    result = measure(data, split, network, steps, batch, workers, choose_device(device))
    line = json.dumps({"data": f"{data}, {split}", **result, "machine": describe_machine(device)})
    typer.echo(line)
    if json_file is not None:
        json_file.write_text(line + "\n")


def measure(
    data: Path, split: str, name: str, steps: int, batch: int, workers: int, device: torch.device
) -> dict[str, Any]:
    """Measure one network in this process."""
    description = read_description(data)
    recipe = RECIPES.get(name, RECIPES["blitznet300"])
    changes = {
        "model": find_model(name).model_copy(update={"num_classes": len(description.classes)}),
        "backbone_weights": None,
        "start_from": None,
        "precision": usable_precision(recipe.precision, device),
        "global_batch_size": batch,
    }
    recipe = recipe.model_copy(update=changes)
    size = recipe.model.image_size
    sources = description.open_split(split)
    samples = TrainingSamples(sources, size, recipe.augmentation, recipe.seed)
    step = training_step(recipe, description.classes, device)
    fixed = collate_samples([samples[position] for position in range(batch)])
    positions = batch_positions(0, WARM_UP + steps, batch, 0, 1)
    alone, _ = time_steps(repeat(fixed), step, steps, device)
    batches = prepare_ahead(samples, positions, collate_samples, workers)
    real, waited = time_steps(batches, step, steps, device)
    low, median, high = np.quantile(alone, (0.25, 0.5, 0.75)).tolist()
    return {
        "network": name,
        "batch": batch,
        "workers": workers,
        "steps": steps,
        "precision": recipe.precision,
        "step_ms": {"quarter": 1000 * low, "median": 1000 * median, "three_quarters": 1000 * high},
        "fixed_images_per_second": batch / median,
        "real_images_per_second": batch * steps / sum(real),
        "waiting": sum(waited) / sum(real),
    }


def training_step(
    recipe: Recipe, names: Sequence[str], device: torch.device
) -> Callable[[Batch], None]:
    """The training loop's step for a batch."""
    accelerator = "gpu" if device.type == "cuda" else device.type
    precision = FABRIC_PRECISION[recipe.precision]
    fabric = Fabric(accelerator=accelerator, devices=1, precision=precision)
    fabric.launch()
    fabric.seed_everything(recipe.seed, verbose=False)
    learner = TrainState(fabric, recipe, names)
    return lambda batch: learner.step(0, batch.to(device))


def time_steps(
    batches: Iterator[Batch], step: Callable[[Batch], None], steps: int, device: torch.device
) -> tuple[list[float], list[float]]:
    """Seconds per step, and seconds that each waited for its batch, after a warm-up."""
    whole, waited = [], []
    for _ in range(WARM_UP + steps):
        start = perf_counter()
        batch = next(batches)
        waited.append(perf_counter() - start)
        step(batch)
        if device.type != "cpu":
            torch.accelerator.synchronize(device)
        whole.append(perf_counter() - start)
    return whole[WARM_UP:], waited[WARM_UP:]


if __name__ == "__main__":
    typer.run(main)
