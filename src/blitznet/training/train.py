"""Train a network: the Python call behind `blitznet train`."""

import collections
import os
from contextlib import closing
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any

from blitznet.data.check.before_training import find_errors
from blitznet.data.check.check import default_workers
from blitznet.data.check.report import Finding, count_of
from blitznet.data.check.skipped import require_skippable, without_skipped, write_skipped
from blitznet.data.description import DataDescription, read_description
from blitznet.device import choose_device
from blitznet.errors import InputError, LabelError, RecipeError
from blitznet.evaluation.evaluate import METRICS_FILE, engine_of, measure
from blitznet.evaluation.metrics import Metrics
from blitznet.evaluation.report.review import Review
from blitznet.evaluation.report.write import write_report
from blitznet.extras import require
from blitznet.model.blitznet import BlitzNet
from blitznet.model.checkpoint import load_checkpoint, save_checkpoint
from blitznet.model_files import read_info
from blitznet.result_folder import make_folder
from blitznet.text_files import read_json, write_json
from blitznet.training.log import LOG_FILE, read_rows
from blitznet.training.loop import MODEL_FILE, STATE_FILE, Rows, train_steps
from blitznet.training.network import fit_to_start
from blitznet.training.options import LoopOptions, require_fit, usable_precision
from blitznet.training.recipe import (
    DEFAULT_RECIPE,
    Recipe,
    change_recipe,
    fit_to_classes,
    read_recipe,
)
from blitznet.training.run_record import RUN_FILE, read_run, write_run
from blitznet.training.show import Tell, show_training
from blitznet.training.tensorboard import rewrite_tensorboard, with_tensorboard
from blitznet.training.validation import (
    VALIDATION_SPLIT,
    keep_measured,
    read_validation,
    with_metrics,
)
from blitznet.whole_file import unfinished_files

ONNX_FILE = "model.onnx"
REPORT_FOLDER = "report"

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
            left out, stopped or written; None = nobody is.
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
        if data is not None or out is not None or skip_bad or changes:
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
    metrics = _finish(folder, device, workers, tell)
    if tensorboard:
        rewrite_tensorboard(folder)
    return TrainingRun(folder, steps, metrics)


def _ignore(_: str) -> None:
    """Nobody is told."""


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
        errors = _errors_before_training(description, data, options.workers > 0, skip_bad)
        folder = make_folder(out, Path("runs/train") / recipe.name)
        write_run(folder, recipe, data)
        if errors:
            write_skipped(folder, errors, description)
            for error in errors:
                tell(f"left out: {error.problem}")
        os.environ[_FOLDER_VARIABLE] = str(folder)
    elif out is not None or _FOLDER_VARIABLE in os.environ:
        folder = out or Path(os.environ[_FOLDER_VARIABLE])
    else:
        raise RecipeError("several processes need one folder to share; give it with --out DIR")
    return folder, recipe, train_steps(recipe, description, folder, options)


def _errors_before_training(
    description: DataDescription, data: Path, has_workers: bool, skip_bad: bool
) -> list[Finding]:
    """The errors of single images, to leave these out; without `skip_bad`, none are tolerated."""
    splits = ["train", *({VALIDATION_SPLIT} & description.splits.keys())]
    errors = find_errors(description, data, splits, default_workers() if has_workers else 0)
    require_skippable(errors)
    if errors and not skip_bad:
        raise LabelError(
            f"{data} has {count_of(len(errors), 'error')}, the first: {errors[0].problem}; see all "
            f"with blitznet check-data {data}, or leave those images out with --skip-bad"
        )
    return errors


def _resume(folder: Path, options: LoopOptions) -> tuple[Path, Recipe, Rows]:
    """Likewise, of a run that was broken off, even before its first checkpoint."""
    recipe, data = read_run(folder)
    if (folder / MODEL_FILE).exists():
        raise RecipeError(f"{folder} is finished: {folder / MODEL_FILE} is the trained network")
    if is_first_process():
        for unfinished in unfinished_files(folder):
            unfinished.unlink()
    has_state = (folder / STATE_FILE).exists()
    return folder, recipe, train_steps(recipe, read_description(data), folder, options, has_state)


def _finish(folder: Path, device: str, workers: int, tell: Tell) -> Metrics | None:
    """Measure, report and export the network that a run has come to."""
    recipe, data = read_run(folder)
    stop = _early_stop(folder, recipe)
    if stop is not None:
        tell(stop)
    metrics = None
    if VALIDATION_SPLIT in read_description(data).splits:
        review = Review(read_info(folder / MODEL_FILE).names)
        metrics = _measure(folder, data, device, workers, review)
        _report(folder, review, metrics, tell)
    _export(folder, tell)
    tell(f"The trained network is in {folder}")
    return metrics


def _early_stop(folder: Path, recipe: Recipe) -> str | None:
    """Why a finished run has fewer steps than its recipe; None if it has them all."""
    best, rows = read_info(folder / MODEL_FILE).training["steps"], read_validation(folder)
    if best == recipe.steps:
        return None
    since = sum((row["step"] or 0) > best for row in rows)
    return (
        f"Stopped early at step {rows[-1]['step']:.0f} of {recipe.steps}: no gain in "
        f"{count_of(since, 'validation')}; the network is that of step {best}"
    )


def _measure(folder: Path, data: Path, device: str, workers: int, review: Review) -> Metrics:
    """Measure a finished run on its validation images and write the metrics into its files."""
    path = folder / MODEL_FILE
    model, info = load_checkpoint(path)
    sources = read_description(data).open_split(VALIDATION_SPLIT)
    sources = without_skipped(sources, VALIDATION_SPLIT, folder)
    with closing(engine_of(model, info.names, device)) as engine:
        metrics = measure(engine, sources, workers=workers, evaluation=review)
    metrics = replace(metrics, model=str(path), data=str(data), split=VALIDATION_SPLIT)
    save_checkpoint(path, model, with_metrics(info, metrics))
    write_json(folder / METRICS_FILE, metrics.to_dict())
    rows, step = read_validation(folder), info.training["steps"]
    if all(row["step"] != step for row in rows):  # as after stopping early
        keep_measured(folder, rows, step, metrics, model, info)
    return metrics


def _report(folder: Path, review: Review, metrics: Metrics, tell: Tell) -> None:
    record = read_json(folder / RUN_FILE)
    try:
        page = write_report(
            folder / REPORT_FOLDER,
            review,
            metrics,
            read_rows(folder / LOG_FILE),
            read_validation(folder),
            {"Recipe": record["recipe"], "Environment": record["environment"]},
        )
        tell(f"Curves, confusions, best and worst images: {page}")
    except InputError as error:  # the network is there all the same
        tell(f"No report: {error}")


def _export(folder: Path, tell: Tell) -> None:
    """Leave `model.onnx` beside the checkpoint, to predict without PyTorch."""
    try:
        for package in ("onnx", "onnxscript"):
            require(package, "train", ONNX_FILE)
        from blitznet.export.onnx_file import export_onnx

        export_onnx(folder / ONNX_FILE, *load_checkpoint(folder / MODEL_FILE))
    except InputError as error:  # likewise
        tell(f"No {ONNX_FILE}: {error}; then: blitznet export {folder / MODEL_FILE}")
