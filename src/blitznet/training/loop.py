"""The training loop. There is one."""

import math
import time
from collections.abc import Iterator
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import cast

import torch
from lightning_fabric import Fabric
from torch import Tensor

from blitznet.data.description import DataDescription
from blitznet.data.input_mode import open_batches
from blitznet.data.loader import TrainingSamples, batch_positions
from blitznet.data.sampling import draw_frequencies
from blitznet.data_check.skipped import without_skipped
from blitznet.device import choose_device
from blitznet.interruption import deferred_interruption
from blitznet.model.checkpoint import CheckpointInfo, load_checkpoint, save_checkpoint
from blitznet.training.divergence import DivergenceWatch
from blitznet.training.learner import Learner
from blitznet.training.log import LOG_FILE, LogFile, LossMeter
from blitznet.training.options import (
    LoopOptions,
    count_processes,
    require_fit,
    steps_between_validations,
)
from blitznet.training.precision import FABRIC_PRECISION, usable_precision
from blitznet.training.recipe import Recipe
from blitznet.training.resume import read_progress
from blitznet.training.run_record import describe_training
from blitznet.training.validation import (
    BEST_FILE,
    VALIDATION_SPLIT,
    Validation,
    Verdict,
)

STATE_FILE = "state.safetensors"
MODEL_FILE = "model.safetensors"

LOG_EVERY = 20  # steps; where the device is waited for, and nowhere else
SAVE_EVERY_S = 120.0


def train(
    recipe: Recipe, data: DataDescription, run: Path, options: LoopOptions, resume: bool = False
) -> Iterator[dict[str, float]]:
    """Train, yielding one row of `LOG_FIELDS` every `LOG_EVERY` steps.

    Leaves in `run`: `state.safetensors` to resume from, `log.csv`, what `Validation` leaves, and,
    when all steps are done or it stops early, `model.safetensors`. Ctrl-C ends the current step,
    writes the state, raises KeyboardInterrupt.

    Args:
        recipe: what to do.
        data: its `train` split is used, and `val` for validation.
        run: a folder, made if missing.
        options: how to do it.
        resume: go on from the state in `run`.

    Raises:
        InputError: if recipe, data and state do not fit together, or a picture cannot be used.
        DivergenceError: if the loss becomes infinite or NaN.
    """
    require_fit(recipe, data, options)
    devices, machines = count_processes(options)
    precision = usable_precision(recipe.precision, choose_device(options.accelerator))
    fabric = Fabric(
        accelerator=options.accelerator,
        devices=devices,
        num_nodes=machines,
        precision=FABRIC_PRECISION[precision],
    )
    fabric.launch()
    fabric.seed_everything(recipe.seed, verbose=False)
    samples = _open_samples(recipe, data, run)
    state, first_step, seconds_before = run / STATE_FILE, 0, 0.0
    if resume:
        progress = read_progress(state)
        first_step, seconds_before = progress["step"], progress["seconds"]
    learner = Learner(fabric, recipe, state if resume else None, options.compile)
    positions = batch_positions(
        first_step, recipe.steps, recipe.global_batch_size, fabric.global_rank, fabric.world_size
    )
    every = steps_between_validations(recipe, data, options)
    validation = _open_validation(data, run, options, fabric, first_step) if every else None

    limit = math.inf if options.max_minutes is None else 60 * options.max_minutes
    started, last_saved = time.monotonic(), 0.0
    batches = open_batches(
        options.input,
        samples,
        positions,
        options.workers,
        fabric.device,
        largest_size=max([recipe.model.image_size, *(side for _, side in recipe.resolution)]),
        processes=options.devices if fabric.device.type == "cpu" else 1,
        show_progress=fabric.is_global_zero,
    )

    def describe(step: int) -> CheckpointInfo:
        minutes = (seconds_before + time.monotonic() - started) / 60
        return CheckpointInfo(
            model=recipe.model,
            names=data.classes,
            training=describe_training(
                recipe, step, len(samples.order), minutes, fabric.device, precision
            ),
            recipe=recipe.model_dump(mode="json"),
        )

    def is_measured_at(step: int) -> bool:
        return every > 0 and 0 < step < recipe.steps and step % every == 0

    meter, watch = LossMeter(fabric.device), DivergenceWatch(fabric.device)
    log_file = LogFile(run / LOG_FILE, first_step) if fabric.is_global_zero else nullcontext()
    step, verdict = first_step, Verdict.GO_ON
    with deferred_interruption() as interrupted, log_file as log:
        while step < recipe.steps:
            if is_measured_at(step):
                if validation is not None:
                    verdict = validation.judge(step, learner.result, describe(step), interrupted)
                verdict = fabric.broadcast(verdict)
                if verdict is not Verdict.GO_ON:
                    break
                meter.resume_clock()
            batch = next(batches).to(fabric.device)
            lr, taken = learner.take_step(step, batch)
            step += 1
            meter.add(taken.terms, batch)
            watch.add(step, taken, batch)

            seconds = time.monotonic() - started
            needed = validation.seconds if validation is not None and is_measured_at(step) else 0.0
            stop = bool(interrupted) or seconds + needed >= limit
            has_row = is_measured_at(step) or step % LOG_EVERY == 0
            if fabric.world_size > 1:  # all stop at one step, or those that go on wait for ever
                stop = has_row and _any_process(fabric, stop)
            if has_row or stop or step == recipe.steps:
                watch.require_finite(fabric, learner.network)
                row = meter.read(step, lr, recipe.global_batch_size)
                if log is not None:
                    log.write(row)
                    is_due = is_measured_at(step) or seconds - last_saved >= SAVE_EVERY_S
                    if is_due or stop or step == recipe.steps:
                        learner.save(state, step, seconds_before + seconds)
                        last_saved = seconds
                yield row
            if stop:
                break
    if interrupted or verdict is Verdict.INTERRUPTED:
        raise KeyboardInterrupt
    if fabric.is_global_zero:
        if verdict is Verdict.STOP_EARLY:
            save_checkpoint(run / MODEL_FILE, *load_checkpoint(run / BEST_FILE))
        elif step == recipe.steps:
            save_checkpoint(run / MODEL_FILE, learner.result, describe(step))


def _open_samples(recipe: Recipe, data: DataDescription, run: Path) -> TrainingSamples:
    """Behind the launch, which waits for the first process: it has written what is left out."""
    sources = without_skipped(data.open_split("train"), "train", run)
    return TrainingSamples(
        sources,
        partial(_image_size_at_position, recipe),
        recipe.augmentation,
        recipe.seed,
        draw_frequencies(sources, recipe.class_balance),
    )


def _open_validation(
    data: DataDescription, run: Path, options: LoopOptions, fabric: Fabric, first_step: int
) -> Validation | None:
    """Of the first process, which measures alone while the others wait for its verdict."""
    if not fabric.is_global_zero:
        return None
    sources = without_skipped(data.open_split(VALIDATION_SPLIT), VALIDATION_SPLIT, run)
    return Validation(
        run, sources, fabric.device, options.workers, first_step, options.early_stopping
    )


def _any_process(fabric: Fabric, flag: bool) -> bool:
    """Whether it holds in any process."""
    count = fabric.all_reduce(torch.tensor(float(flag), device=fabric.device), reduce_op="sum")
    return bool(cast(Tensor, count) > 0)


def _image_size_at_position(recipe: Recipe, position: int) -> int:
    return recipe.image_size_at(position // recipe.global_batch_size)
