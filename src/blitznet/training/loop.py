"""The training loop; there is only one."""

import math
import shutil
import time
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, cast

import torch
from torch import Tensor

from blitznet.data.check.check import without_skipped
from blitznet.data.description import DataDescription
from blitznet.data.loader import TrainingSamples, batch_positions, collate_samples, prepare_ahead
from blitznet.data.sampling import draw_frequencies
from blitznet.data.source import LabelSource
from blitznet.device import hardware_name
from blitznet.files.atomic_write import atomic_write
from blitznet.interruption import deferred_interruption
from blitznet.model.checkpoint import save_checkpoint
from blitznet.model_files import CheckpointInfo
from blitznet.training.log import LOG_FIELDS, LOG_FILE, Meter, append_row, drop_rows_after
from blitznet.training.loop_options import LoopOptions, steps_between_validations, usable_precision
from blitznet.training.recipe import Recipe
from blitznet.training.resume import Progress, read_progress
from blitznet.training.run_record import read_supervised
from blitznet.training.step import TrainState
from blitznet.training.validation import (
    BEST_FILE,
    VALIDATION_FIELDS,
    VALIDATION_FILE,
    VALIDATION_SPLIT,
    read_validation,
    validate,
    validations_without_gain,
)

if TYPE_CHECKING:
    from lightning_fabric import Fabric

Steps = Iterator[tuple[int, dict[str, float] | None]]  # number of steps so far, row of the log

STATE_FILE = "state.safetensors"
MODEL_FILE = "model.safetensors"

LOG_EVERY = 20  # steps; only then does the loop synchronise with the device
SAVE_EVERY_S = 120.0


class TrainingLoop:
    """A run in progress.

    Args:
        recipe: recipe fitted to the data.
        data: provides the `train` split, and `val` for validation.
        run: folder of the run, created if missing.
        options: options of the run.
        fabric: result of `launch`.
        resume: continue from the state in `run`.

    Raises:
        InputError: if recipe, data and state do not match.
    """

    def __init__(
        self,
        recipe: Recipe,
        data: DataDescription,
        run: Path,
        options: LoopOptions,
        fabric: "Fabric",
        resume: bool = False,
    ):
        self._recipe, self._names, self._run, self._options = recipe, data.classes, run, options
        self._fabric = fabric
        state = run / STATE_FILE if resume else None
        progress = Progress(step=0, seconds=0) if state is None else read_progress(state)
        self._step, self._last_saved = progress.step, progress.seconds
        # After the launch, which waits for the first process to write the list of skipped images.
        sources = without_skipped(data.open_split("train"), "train", run)
        frequencies = draw_frequencies(sources, recipe.class_balance)
        samples = TrainingSamples(
            sources, recipe.model.image_size, recipe.augmentation, recipe.seed, frequencies
        )
        self._num_images = len(samples.order)
        self._learner = TrainState(fabric, recipe, data.classes, state, options.compile)
        self._validate_every = steps_between_validations(recipe, data, options)
        self._val_sources: list[LabelSource] = []
        if self._validate_every and fabric.is_global_zero:
            measured = data.open_split(VALIDATION_SPLIT)
            self._val_sources = without_skipped(measured, VALIDATION_SPLIT, run)
            if (run / VALIDATION_FILE).exists():
                drop_rows_after(run / VALIDATION_FILE, VALIDATION_FIELDS, self._step)
        self._started = time.monotonic() - self._last_saved
        minutes = math.inf if options.max_minutes is None else options.max_minutes
        self._limit = self._last_saved + 60 * minutes
        batch, rank, count = recipe.global_batch_size, fabric.global_rank, fabric.world_size
        positions = batch_positions(self._step, recipe.steps, batch, rank, count)
        pin_memory = fabric.device.type == "cuda"
        self._batches = prepare_ahead(
            samples, positions, collate_samples, options.workers, pin_memory
        )

    def steps(self) -> Steps:
        """Train, yielding after every step, with a row of `LOG_FIELDS` every `LOG_EVERY` steps.

        Writes to the folder: `state.safetensors` to resume from, `log.csv`, the files of `validate`
        and, after the last step or an early stop, `model.safetensors`. Ctrl-C completes the current
        step, saves the state and raises KeyboardInterrupt.

        Raises:
            InputError: if an image is unusable.
            DivergenceError: if the loss becomes infinite or NaN.
        """
        fabric, recipe = self._fabric, self._recipe
        meter = Meter()
        if fabric.is_global_zero:
            self._run.mkdir(parents=True, exist_ok=True)
            drop_rows_after(self._run / LOG_FILE, LOG_FIELDS, self._step)
        stops_early = False
        # Close explicitly: the traceback of an unexpected error would keep the workers alive.
        with closing(self._batches), deferred_interruption() as interrupted:
            while self._step < recipe.steps:
                if self._is_measured():
                    stops_early = self._has_lost_patience(interrupted)
                    if stops_early:
                        break
                    meter.resume_clock()
                batch = next(self._batches).to(fabric.device)
                taken = self._learner.step(self._step, batch)
                self._step += 1
                meter.add(taken, batch)

                row = None
                is_last = self._must_stop(interrupted) or self._step == recipe.steps
                if is_last or self._has_row():
                    meter.require_finite(fabric, self._learner.network, self._step)
                    row = meter.read(self._step, taken.lr, recipe.global_batch_size)
                    if fabric.is_global_zero:
                        append_row(self._run / LOG_FILE, row)
                        since_saved = self._seconds - self._last_saved
                        if is_last or self._is_measured() or since_saved >= SAVE_EVERY_S:
                            self._last_saved = self._seconds
                            self._learner.save(self._run / STATE_FILE, self._step, self._last_saved)
                yield self._step, row
                if is_last:
                    break
        if interrupted:
            raise KeyboardInterrupt
        if stops_early and fabric.is_global_zero:
            with atomic_write(self._run / MODEL_FILE) as temporary:
                shutil.copyfile(self._run / BEST_FILE, temporary)
        elif self._step == recipe.steps and fabric.is_global_zero:
            save_checkpoint(self._run / MODEL_FILE, self._learner.result, self._describe())

    @property
    def _seconds(self) -> float:
        """Duration of the run so far, with that of earlier processes."""
        return time.monotonic() - self._started

    def _is_measured(self) -> bool:
        """Whether to validate at this step; the final weights are evaluated after the run."""
        is_between = 0 < self._step < self._recipe.steps
        return is_between and self._validate_every > 0 and self._step % self._validate_every == 0

    def _has_row(self) -> bool:
        return self._is_measured() or self._step % LOG_EVERY == 0

    def _has_lost_patience(self, interrupted: Sequence[int]) -> bool:
        """Whether to stop early: the first process validates and broadcasts the decision."""
        lost: bool | None = False
        if self._val_sources:
            network, sources, device = self._learner.result, self._val_sources, self._fabric.device
            info, workers = self._describe(), self._options.workers
            try:
                validate(self._run, network, info, sources, device, workers, interrupted)
                patience = self._options.early_stopping
                lost = patience is not None and validations_without_gain(self._run) >= patience
            except KeyboardInterrupt:
                lost = None  # stops the other processes, too
        lost = self._fabric.broadcast(lost)
        if lost is None:
            raise KeyboardInterrupt
        return lost

    def _must_stop(self, interrupted: Sequence[int]) -> bool:
        """Whether to stop: after a signal, or when time is up, counting a due validation."""
        needed = 0.0
        if self._val_sources and self._is_measured():
            needed = next((row["seconds"] or 0.0 for row in read_validation(self._run)[::-1]), 0.0)
        stop = bool(interrupted) or self._seconds + needed >= self._limit
        if self._fabric.world_size == 1:
            return stop
        if not self._has_row():
            return False
        # All must stop at the same step, or those that continue would wait forever.
        flag = torch.tensor(float(stop), device=self._fabric.device)
        return bool(cast(Tensor, self._fabric.all_reduce(flag, reduce_op="sum")) > 0)

    def _describe(self) -> CheckpointInfo:
        """Metadata of the current weights."""
        recipe, device = self._recipe, self._fabric.device
        training = {
            "recipe": recipe.name,
            "steps": self._step,
            "pictures": self._num_images,
            "minutes": round(self._seconds / 60, 1),
            "hardware": hardware_name(device),
            "precision": usable_precision(recipe.precision, device),
            "torch": torch.__version__,
        }
        return CheckpointInfo(
            model=recipe.model,
            names=self._names,
            **read_supervised(self._run),
            training=training,
            recipe=recipe.model_dump(mode="json"),
        )
