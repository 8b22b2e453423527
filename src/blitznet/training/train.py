"""Train a network: the Python call behind `blitznet train`."""

import collections
import os
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from blitznet.cpu import usable_cores
from blitznet.data.check.check import check_data
from blitznet.data.check.report import count_of
from blitznet.data.check.skipped import require_skippable, write_skipped
from blitznet.data.description import DataDescription, read_description
from blitznet.data.labels import Problem
from blitznet.device import choose_device
from blitznet.errors import LabelError, RecipeError
from blitznet.evaluation.metrics import Metrics
from blitznet.extras import require
from blitznet.model.blitznet import BlitzNet
from blitznet.model.checkpoint import load_checkpoint
from blitznet.model.imagenet_weights import describe_imagenet_weights
from blitznet.plain_names import file_name
from blitznet.result_folder import make_folder
from blitznet.training.finish import ONNX_FILE, finish_run
from blitznet.training.loop import MODEL_FILE, STATE_FILE, Rows, train_steps
from blitznet.training.network import fit_to_start, starts_from_imagenet
from blitznet.training.options import LoopOptions, require_fit, usable_precision
from blitznet.training.recipe import (
    DEFAULT_RECIPE,
    Recipe,
    change_recipe,
    fit_to_classes,
    read_recipe,
)
from blitznet.training.run_record import read_run, write_run
from blitznet.training.show import Tell, show_training
from blitznet.training.tensorboard import rewrite_tensorboard, with_tensorboard
from blitznet.training.validation import VALIDATION_SPLIT
from blitznet.whole_file import unfinished_files

# Where the first process tells those that it launches which folder it has chosen.
_FOLDER_VARIABLE = "BLITZNET_RUN_FOLDER"


@dataclass(frozen=True)
class TrainingRun:
    """What a call of `train` leaves.

    Attributes:
        folder: of the run.
        steps: that were taken.
        metrics: of the trained network on the `val` split; None without one, or if the run is not
            finished.
    """

    folder: Path
    steps: int
    metrics: Metrics | None = None

    @property
    def model_path(self) -> Path:
        """The trained network, to train further or to evaluate; missing if not finished."""
        return self.folder / MODEL_FILE

    @property
    def onnx_path(self) -> Path:
        """The same to predict with, without PyTorch; missing where `onnx` is not installed."""
        return self.folder / ONNX_FILE

    @property
    def is_finished(self) -> bool:
        """Whether there is a trained network; a run that ran out of time can be resumed."""
        return self.model_path.is_file()

    @cached_property
    def model(self) -> BlitzNet:
        """The trained network in evaluation mode, on the CPU, read when first asked for.

        Raises:
            CheckpointError: if the run is not finished.
        """
        return load_checkpoint(self.model_path)[0]


def train(
    data: str | os.PathLike[str] | None = None,
    recipe: str | os.PathLike[str] | Recipe = DEFAULT_RECIPE,
    *,
    out: str | os.PathLike[str] | None = None,
    resume: str | os.PathLike[str] | None = None,
    device: str = "auto",
    devices: int = 1,
    workers: int = 2,
    max_minutes: float | None = None,
    validate_every: int | None = None,
    early_stopping: int | None = None,
    compile: bool = False,  # noqa: A002 - as the flag, and as in torch
    skip_bad: bool = False,
    tensorboard: bool = False,
    tell: Tell | None = None,
    **changes: Any,
) -> TrainingRun:
    """Train a network, measure it on the `val` split, and export it to ONNX.

    The folder of the run gets the files that docs/training.md lists. Ctrl-C ends the current step,
    saves the state and raises KeyboardInterrupt.

    Args:
        data: path of the data description; None with `resume`.
        recipe: a named recipe, a YAML file, or the recipe itself.
        out: folder of the run, empty or new; None = runs/train/RECIPE, or the next free one.
        resume: folder of a run to continue, with its own data and recipe.
        device: auto, cpu, cuda or mps.
        devices: GPUs or processes.
        workers: processes that read images, for each device; 0 = none.
        max_minutes: stop in time, resumable; None = no limit.
        validate_every: steps between two measurements on the `val` split; None = ten times a run,
            0 = only at the end.
        early_stopping: stop after this many validations without a gain, and take the best.
        compile: compile the network, for faster steps after minutes.
        skip_bad: leave out images with errors, and list them in the folder.
        tensorboard: also write the figures for TensorBoard.
        tell: called with lines of progress where standard error is no terminal, and with what is
            left out, stopped or written; None = silence.
        changes: of the recipe, such as `steps=1000` or `model={"fusion": "refine"}`.

    Raises:
        InputError: if data, recipe and options do not fit together, or an image cannot be used.
        DivergenceError: if the loss becomes infinite or NaN.
        WorkerError: if a process that reads images dies.
    """
    tell = tell or _ignore
    require("lightning_fabric", "train", "training")
    if tensorboard:
        require("tensorboard", "tensorboard", "--tensorboard")
    accelerator = choose_device(device).type
    options = LoopOptions(
        devices, accelerator, workers, max_minutes, validate_every, early_stopping, compile
    )
    if resume is not None:
        given = (data, out, changes or None, recipe if recipe != DEFAULT_RECIPE else None)
        if skip_bad or any(value is not None for value in given):
            raise RecipeError("a run is resumed with its own data and recipe; give resume alone")
        folder, used, rows = _resume(Path(resume), options)
    elif data is None:
        raise RecipeError("give data=DATA.yaml, or resume=FOLDER of a run")
    else:
        wanted = recipe if isinstance(recipe, Recipe) else read_recipe(os.fspath(recipe))
        wanted = change_recipe(wanted, **changes) if changes else wanted
        into = None if out is None else Path(out)
        folder, used, rows = _start(Path(data), wanted, into, options, skip_bad, tell)
    if not is_first_process():
        collections.deque(rows, maxlen=0)
        return TrainingRun(folder, used.steps)
    if tensorboard:
        rows = with_tensorboard(rows, folder)
    steps = show_training(rows, used.steps, folder, tell)
    if not (folder / MODEL_FILE).is_file():
        tell(f"Stopped at step {steps} of {used.steps}; blitznet train --resume {folder}")
        return TrainingRun(folder, steps)
    metrics = finish_run(folder, device, workers, tell)
    if tensorboard:
        rewrite_tensorboard(folder)
    return TrainingRun(folder, steps, metrics)


def _ignore(_: str) -> None:
    """Drop a line."""


def is_first_process() -> bool:
    """Whether this is the only process of a run, or the one that writes its files."""
    return int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0"))) == 0


def _start(
    data: Path, recipe: Recipe, out: Path | None, options: LoopOptions, skip_bad: bool, tell: Tell
) -> tuple[Path, Recipe, Rows]:
    """Folder, recipe and rows of a new run; see `train`."""
    description = read_description(data)
    recipe = fit_to_classes(fit_to_start(recipe), len(description.classes))
    require_fit(recipe, description, options)
    if is_first_process():
        device = choose_device(options.accelerator)
        if usable_precision(recipe.precision, device) != recipe.precision:
            tell("This processor would emulate bfloat16; training runs in fp32")
        if starts_from_imagenet(recipe):
            tell(describe_imagenet_weights(recipe.model.backbone))
        errors = _errors_before_training(description, data, options.workers > 0, skip_bad)
        folder = make_folder(out, Path("runs/train") / file_name(recipe.name))
        write_run(folder, recipe, data)
        if errors:
            write_skipped(folder, errors, description)
            for error in errors:
                tell(f"left out: {error}")
        os.environ[_FOLDER_VARIABLE] = str(folder)
    elif out is not None or _FOLDER_VARIABLE in os.environ:
        folder = out or Path(os.environ[_FOLDER_VARIABLE])
    else:
        raise RecipeError("several processes need one folder to share; give it with --out DIR")
    return folder, recipe, train_steps(recipe, description, folder, options)


def _errors_before_training(
    description: DataDescription, data: Path, has_workers: bool, skip_bad: bool
) -> list[Problem]:
    """The errors of single images, to leave these out; without `skip_bad`, none are tolerated."""
    splits = ["train", *({VALIDATION_SPLIT} & description.splits.keys())]
    workers = usable_cores() if has_workers else 0
    errors = check_data(description, data, splits, workers=workers).errors
    require_skippable(errors)
    if errors and not skip_bad:
        raise LabelError(
            f"{data} has {count_of(len(errors), 'error')}, the first: {errors[0]}; see all "
            f"with blitznet check-data {data}, or leave those images out with --skip-bad"
        )
    return errors


def _resume(folder: Path, options: LoopOptions) -> tuple[Path, Recipe, Rows]:
    """Likewise, of an interrupted run, even one without a checkpoint so far."""
    recipe, data = read_run(folder)
    if (folder / MODEL_FILE).exists():
        raise RecipeError(f"{folder} is finished: {folder / MODEL_FILE} is the trained network")
    if is_first_process():
        for unfinished in unfinished_files(folder):
            unfinished.unlink()
    has_state = (folder / STATE_FILE).exists()
    return folder, recipe, train_steps(recipe, read_description(data), folder, options, has_state)
