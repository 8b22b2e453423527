"""The training loop. There is one."""

import math
import time
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from functools import partial
from pathlib import Path
from typing import cast

import torch
from lightning_fabric import Fabric
from torch import Tensor

from blitznet.data.check.skipped import without_skipped
from blitznet.data.description import DataDescription
from blitznet.data.input_mode import open_batches
from blitznet.data.loader import TrainingSamples, batch_positions
from blitznet.data.sampling import draw_frequencies
from blitznet.device import choose_device
from blitznet.interruption import deferred_interruption
from blitznet.model.checkpoint import load_checkpoint, save_checkpoint
from blitznet.model_files import CheckpointInfo
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
    yield from _Loop(recipe, data, run, options, resume).rows()


class _Loop:
    """A run under way: arguments as of `train`."""

    def __init__(
        self, recipe: Recipe, data: DataDescription, run: Path, options: LoopOptions, resume: bool
    ):
        self._recipe = recipe
        self._names = data.classes
        self._run = run
        devices, machines = count_processes(options)
        self._precision = usable_precision(recipe.precision, choose_device(options.accelerator))
        self._fabric = fabric = Fabric(
            accelerator=options.accelerator,
            devices=devices,
            num_nodes=machines,
            precision=FABRIC_PRECISION[self._precision],
        )
        fabric.launch()
        fabric.seed_everything(recipe.seed, verbose=False)
        samples = _open_samples(recipe, data, run)
        self._num_pictures = len(samples.order)
        state = run / STATE_FILE
        self._step, self._seconds_before = 0, 0.0
        if resume:
            progress = read_progress(state)
            self._step, self._seconds_before = progress["step"], progress["seconds"]
        self._learner = Learner(fabric, recipe, state if resume else None, options.compile)
        self._validate_every = steps_between_validations(recipe, data, options)
        self._validation = (
            _open_validation(data, run, options, fabric, self._step)
            if self._validate_every
            else None
        )
        self._limit = math.inf if options.max_minutes is None else 60 * options.max_minutes
        self._started, self._last_saved = time.monotonic(), 0.0
        self._batches = open_batches(
            options.input,
            samples,
            batch_positions(
                self._step,
                recipe.steps,
                recipe.global_batch_size,
                fabric.global_rank,
                fabric.world_size,
            ),
            options.workers,
            fabric.device,
            largest_size=recipe.model.image_size,
            processes=options.devices if fabric.device.type == "cpu" else 1,
            show_progress=fabric.is_global_zero,
        )

    def rows(self) -> Iterator[dict[str, float]]:
        """What `train` yields."""
        fabric, recipe = self._fabric, self._recipe
        meter, watch = LossMeter(fabric.device), DivergenceWatch(fabric.device)
        log_file = LogFile(self._run / LOG_FILE, self._step) if fabric.is_global_zero else None
        verdict = Verdict.GO_ON
        with deferred_interruption() as interrupted, log_file or nullcontext():
            while self._step < recipe.steps:
                if self._is_measured():
                    verdict = self._judge(interrupted)
                    if verdict is not Verdict.GO_ON:
                        break
                    meter.resume_clock()
                batch = next(self._batches).to(fabric.device)
                lr, taken = self._learner.take_step(self._step, batch)
                self._step += 1
                meter.add(taken.terms, batch)
                watch.add(self._step, taken, batch)

                is_last = self._must_stop(interrupted) or self._step == recipe.steps
                if is_last or self._has_row():
                    watch.require_finite(fabric, self._learner.network)
                    row = meter.read(self._step, lr, recipe.global_batch_size)
                    if log_file is not None:
                        log_file.write(row)
                        if is_last or self._is_save_due():
                            self._save()
                    yield row
                if is_last:
                    break
        if interrupted or verdict is Verdict.INTERRUPTED:
            raise KeyboardInterrupt
        if fabric.is_global_zero:
            self._keep_result(verdict)

    @property
    def _seconds(self) -> float:
        """Since this process began; what an earlier one took comes on top."""
        return time.monotonic() - self._started

    def _is_measured(self) -> bool:
        """Whether the weights that were reached are measured; the last ones are it elsewhere."""
        is_between = 0 < self._step < self._recipe.steps
        return is_between and self._validate_every > 0 and self._step % self._validate_every == 0

    def _has_row(self) -> bool:
        return self._is_measured() or self._step % LOG_EVERY == 0

    def _judge(self, interrupted: Sequence[int]) -> Verdict:
        """The first process measures, and all go by its verdict."""
        verdict = Verdict.GO_ON
        if self._validation is not None:
            verdict = self._validation.judge(
                self._step, self._learner.result, self._describe(), interrupted
            )
        return self._fabric.broadcast(verdict)

    def _must_stop(self, interrupted: Sequence[int]) -> bool:
        """Whether there is a signal, or no time left for a validation that is due."""
        needed = 0.0
        if self._validation is not None and self._is_measured():
            needed = self._validation.seconds
        stop = bool(interrupted) or self._seconds + needed >= self._limit
        if self._fabric.world_size == 1:
            return stop
        # All stop at one step, or those that go on wait for ever.
        return self._has_row() and _any_process(self._fabric, stop)

    def _is_save_due(self) -> bool:
        return self._is_measured() or self._seconds - self._last_saved >= SAVE_EVERY_S

    def _save(self) -> None:
        """The state to go on from."""
        self._last_saved = self._seconds
        self._learner.save(
            self._run / STATE_FILE, self._step, self._seconds_before + self._last_saved
        )

    def _keep_result(self, verdict: Verdict) -> None:
        """Write `model.safetensors`, if the run has come to its end."""
        if verdict is Verdict.STOP_EARLY:
            save_checkpoint(self._run / MODEL_FILE, *load_checkpoint(self._run / BEST_FILE))
        elif self._step == self._recipe.steps:
            save_checkpoint(self._run / MODEL_FILE, self._learner.result, self._describe())

    def _describe(self) -> CheckpointInfo:
        """Of the weights that were reached."""
        training = describe_training(
            self._recipe,
            self._step,
            self._num_pictures,
            (self._seconds_before + self._seconds) / 60,
            self._fabric.device,
            self._precision,
        )
        return CheckpointInfo(
            model=self._recipe.model,
            names=self._names,
            training=training,
            recipe=self._recipe.model_dump(mode="json"),
        )


def _open_samples(recipe: Recipe, data: DataDescription, run: Path) -> TrainingSamples:
    """Behind the launch, which waits for the first process: it has written what is left out."""
    sources = without_skipped(data.open_split("train"), "train", run)
    return TrainingSamples(
        sources,
        partial(_always, recipe.model.image_size),
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


def _always(image_size: int, _: int) -> int:
    return image_size
