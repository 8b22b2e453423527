"""The training loop. There is one."""

import math
import time
from collections.abc import Iterator
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import cast

import torch
from lightning_fabric import Fabric
from torch import Tensor, nn
from torch.optim import Optimizer

from blitznet.data.description import DataDescription
from blitznet.data.loader import TrainingSamples, batch_positions, training_batches
from blitznet.data.sampling import draw_frequencies
from blitznet.data_check.skipped import without_skipped
from blitznet.errors import InputError, RecipeError
from blitznet.interruption import deferred_interruption
from blitznet.losses.joint import LossTerms, joint_loss
from blitznet.model.blitznet import BlitzNet, normalize_images
from blitznet.model.checkpoint import CheckpointInfo, save_checkpoint
from blitznet.structures import Batch
from blitznet.training.log import LOG_FILE, LogFile, LossMeter
from blitznet.training.network import average_weights, build_network
from blitznet.training.optimizer import build_optimizer, learning_rate, set_learning_rate
from blitznet.training.recipe import Recipe
from blitznet.training.resume import load_state, read_progress, save_state
from blitznet.training.run_record import describe_training

STATE_FILE = "state.safetensors"
MODEL_FILE = "model.safetensors"

LOG_EVERY = 20  # steps; the only place where the device is waited for
SAVE_EVERY_S = 120.0


@dataclass
class LoopOptions:
    """How a run is carried out; none of it changes the result.

    Attributes:
        devices: processes, one a device.
        accelerator: as Lightning Fabric's: auto, cpu, cuda, ...
        workers: processes that prepare pictures, per device.
        max_minutes: stop cleanly, with a checkpoint, inside this time; None = no limit.
    """

    devices: int = 1
    accelerator: str = "auto"
    workers: int = 2
    max_minutes: float | None = None


class DivergenceError(InputError):
    """The loss is no longer a number; the last checkpoint is from before."""


def train(
    recipe: Recipe, data: DataDescription, run: Path, options: LoopOptions, resume: bool = False
) -> Iterator[dict[str, float]]:
    """Train, yielding one row of `LOG_FIELDS` every `LOG_EVERY` steps.

    Leaves in `run`: `state.safetensors` to resume from, `log.csv`, and, when all steps are done,
    `model.safetensors`. Ctrl-C ends the current step, writes the state, raises KeyboardInterrupt.

    Args:
        recipe: what to do.
        data: its `train` split is used.
        run: a folder, made if missing.
        options: how to do it.
        resume: go on from the state in `run`.

    Raises:
        InputError: if recipe, data and state do not fit together, or a picture cannot be used.
        DivergenceError: if the loss becomes infinite or NaN.
    """
    require_fit(recipe, data, options.devices)
    fabric = Fabric(
        accelerator=options.accelerator,
        devices=options.devices,
        precision="bf16-mixed" if recipe.precision == "bf16" else "32-true",
    )
    fabric.launch()
    fabric.seed_everything(recipe.seed, verbose=False)
    # Behind the launch, which waits for the first process: it has written what is left out.
    sources = without_skipped(data.open_split("train"), "train", run)
    samples = TrainingSamples(
        sources,
        partial(_image_size_at_position, recipe),
        recipe.augmentation,
        recipe.seed,
        draw_frequencies(sources, recipe.class_balance),
    )

    network = build_network(recipe)
    averaged = average_weights(network, recipe)
    optimizer = build_optimizer(network, recipe)
    state_path, first_step, seconds_before = run / STATE_FILE, 0, 0.0
    if resume:
        progress = read_progress(state_path)
        first_step, seconds_before = progress["step"], progress["seconds"]
        load_state(state_path, network, averaged, optimizer)
    model, optimizer = fabric.setup(network, optimizer)
    if averaged is not None:
        averaged.to(fabric.device)
    positions = batch_positions(
        first_step, recipe.steps, recipe.global_batch_size, fabric.global_rank, fabric.world_size
    )
    batches = training_batches(
        samples, positions, options.workers, pin_memory=fabric.device.type == "cuda"
    )
    anchors = {
        size: recipe.model_at(size).make_anchors().to(fabric.device)
        for size in {recipe.image_size_at(step) for step in range(recipe.steps)}
    }

    limit = math.inf if options.max_minutes is None else options.max_minutes
    started, last_saved = time.monotonic(), 0.0
    meter = LossMeter(fabric.device)
    log_file = LogFile(run / LOG_FILE, first_step) if fabric.is_global_zero else nullcontext()
    step = first_step
    with deferred_interruption() as interrupted, log_file as log:
        while step < recipe.steps:
            batch = next(batches).to(fabric.device)
            lr = learning_rate(recipe, step)
            set_learning_rate(optimizer, lr)
            size = recipe.image_size_at(step)
            meter.add(train_step(fabric, model, optimizer, batch, anchors[size], recipe), batch)
            if averaged is not None:
                averaged.update_parameters(network)
            step += 1

            seconds = time.monotonic() - started
            stop = bool(interrupted) or seconds >= 60 * limit
            if fabric.world_size > 1:  # all stop at one step, or those that go on wait for ever
                stop = step % LOG_EVERY == 0 and _any_process(fabric, stop)
            if step % LOG_EVERY == 0 or step == recipe.steps or stop:
                row = meter.read(step, lr, recipe.global_batch_size)
                _require_finite(row, network, batch)
                if log is not None:
                    log.write(row)
                    if stop or step == recipe.steps or seconds - last_saved >= SAVE_EVERY_S:
                        progress = {"step": step, "seconds": seconds_before + seconds}
                        save_state(state_path, network, averaged, optimizer, progress)
                        last_saved = seconds
                yield row
            if stop:
                break
    if interrupted:
        raise KeyboardInterrupt
    if step == recipe.steps and fabric.is_global_zero:
        final = cast(BlitzNet, averaged.module) if averaged is not None else network
        minutes = (seconds_before + time.monotonic() - started) / 60
        info = CheckpointInfo(
            model=recipe.model,
            names=data.classes,
            training=describe_training(recipe, len(samples.order), minutes, fabric.device),
            recipe=recipe.model_dump(mode="json"),
        )
        save_checkpoint(run / MODEL_FILE, final, info)


def require_fit(recipe: Recipe, data: DataDescription, devices: int) -> None:
    """Raise RecipeError if the recipe does not fit the data or the number of devices."""
    if recipe.model.num_classes != len(data.classes):
        raise RecipeError(
            f"recipe {recipe.name} has {recipe.model.num_classes} classes, the data has "
            f"{len(data.classes)} with background; use --set model.num_classes={len(data.classes)}"
        )
    if recipe.global_batch_size % devices:
        raise RecipeError(
            f"a global batch of {recipe.global_batch_size} pictures cannot be shared by "
            f"{devices} devices; use --set global_batch_size=N with a multiple of them"
        )


def train_step(
    fabric: Fabric,
    model: nn.Module,
    optimizer: Optimizer,
    batch: Batch,
    anchors: Tensor,
    recipe: Recipe,
) -> LossTerms:
    """Forward, joint loss, backward, update."""
    images = normalize_images(batch.images, recipe.model.mean, recipe.model.std)
    raw = model(images.contiguous(memory_format=torch.channels_last))
    terms = joint_loss(
        raw,
        batch,
        anchors,
        partial(_average, fabric),
        recipe.anchors_per_box,
        recipe.seg_loss_scale,
    )
    fabric.backward(terms.total)
    if recipe.clip_grad_norm is not None:
        # To ask for an error would wait for the device; the weights are checked when logging.
        fabric.clip_gradients(
            model, optimizer, max_norm=recipe.clip_grad_norm, error_if_nonfinite=False
        )
    optimizer.step()
    optimizer.zero_grad()
    return terms


def _average(fabric: Fabric, count: Tensor) -> Tensor:
    """Mean of a scalar over all processes."""
    return cast(Tensor, fabric.all_reduce(count, reduce_op="mean"))


def _any_process(fabric: Fabric, flag: bool) -> bool:
    """Whether it holds in any process."""
    count = fabric.all_reduce(torch.tensor(float(flag), device=fabric.device), reduce_op="sum")
    return bool(cast(Tensor, count) > 0)


def _require_finite(row: dict[str, float], network: nn.Module, batch: Batch) -> None:
    """Losses and weights: a finite loss may still have had an infinite gradient."""
    losses = row["classification"] + row["box"] + row["segmentation"]
    if not (math.isfinite(losses) and all(bool(p.isfinite().all()) for p in network.parameters())):
        raise DivergenceError(
            f"the loss is not finite at step {row['step']:.0f}; last pictures: "
            f"{', '.join(batch.sources)}. Lower the learning rate with --set lr=..."
        )


def _image_size_at_position(recipe: Recipe, position: int) -> int:
    return recipe.image_size_at(position // recipe.global_batch_size)
