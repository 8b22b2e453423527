"""Train a network: the Python call behind `blitznet train`."""

import collections
import math
import os
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from blitznet.classes import IGNORE_INDEX
from blitznet.cpu import usable_cores
from blitznet.data.check.check import SKIPPED_FILE, check_data, write_skipped
from blitznet.data.check.check_report import CheckReport
from blitznet.data.description import DataDescription, read_description
from blitznet.device import choose_device
from blitznet.errors import (
    BlitzNetError,
    InputError,
    LabelError,
    RecipeError,
    count_of,
    require_numbers,
)
from blitznet.evaluation.metrics import Metrics
from blitznet.extras import require
from blitznet.files.atomic_write import unfinished_files
from blitznet.files.plain_names import file_name
from blitznet.files.result_folder import locked, make_folder
from blitznet.inference.engines.engine import OnMessage
from blitznet.interruption import terminated_as_interrupted
from blitznet.model.backbone import require_timm_model
from blitznet.model.blitznet import BlitzNet
from blitznet.model.checkpoint import load_checkpoint
from blitznet.model.imagenet_weights import describe_imagenet_weights
from blitznet.training.finish import ONNX_FILE, finish_run
from blitznet.training.log import LOG_FILE
from blitznet.training.loop import MODEL_FILE, STATE_FILE, Steps, TrainingLoop
from blitznet.training.loop_options import LoopOptions, require_fit, usable_precision
from blitznet.training.network import (
    KnownClasses,
    fit_to_start,
    keep_dropped,
    known_to_start,
    starts_from_imagenet,
)
from blitznet.training.recipe import (
    DEFAULT_RECIPE,
    Recipe,
    change_recipe,
    fit_to_data,
    read_recipe,
)
from blitznet.training.resume import read_progress
from blitznet.training.run_record import (
    RUN_FILE,
    read_run,
    require_new,
    require_unchanged,
    write_run,
)
from blitznet.training.show import ProgressReporter, describe_start, show_training
from blitznet.training.tensorboard import tensorboard_writer
from blitznet.training.validation import VALIDATION_SPLIT

if TYPE_CHECKING:
    from lightning_fabric import Fabric

    from blitznet.training.launcher import Processes


@dataclass(frozen=True)
class TrainingRun:
    """The result of `train`.

    Attributes:
        folder: the run's folder.
        steps: number of steps taken.
        metrics: metrics on the `val` split; None without one, or if the run is not finished.
    """

    folder: Path
    steps: int
    metrics: Metrics | None = None

    @property
    def model_path(self) -> Path:
        """The checkpoint, to train further or to evaluate; missing until the run is finished."""
        return self.folder / MODEL_FILE

    @property
    def onnx_path(self) -> Path:
        """The exported network, to predict without PyTorch; missing if `onnx` is not installed."""
        return self.folder / ONNX_FILE

    @property
    def is_finished(self) -> bool:
        """Whether training is complete; a run that ran out of time can be resumed."""
        return self.model_path.is_file()

    @cached_property
    def model(self) -> BlitzNet:
        """The trained network in evaluation mode, on the CPU, read on first use.

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
    compile: bool = False,  # noqa: A002 - same name as the flag, and as in torch
    skip_bad: bool = False,
    tensorboard: bool = False,
    epochs: float | None = None,
    on_message: OnMessage | None = None,
    **changes: Any,
) -> TrainingRun:
    """Train a network, evaluate it on the `val` split, and export it to ONNX.

    docs/training.md lists the files in the folder of the run. Ctrl-C and SIGTERM complete the
    current step, save the state and raise KeyboardInterrupt.

    Args:
        data: path of the data description; None with `resume`.
        recipe: a named recipe, a YAML file, or a `Recipe`.
        out: folder of the run, new or empty; None = runs/train/RECIPE, or the next free name.
        resume: folder of a run to continue, with its own data and recipe.
        device: auto, cpu or cuda.
        devices: GPUs or processes.
        workers: data-loading processes per device; 0 = none.
        max_minutes: stop after this time; the run can be resumed. None = no limit.
        validate_every: steps between validations on the `val` split; None = a tenth of the run,
            but at least 20; 0 = only at the end.
        early_stopping: stop after this many validations without improvement, and keep the best.
        compile: compile the network with `torch.compile`.
        skip_bad: skip images with errors, and list them in the folder.
        tensorboard: also write TensorBoard event files.
        epochs: passes over the training images, instead of the recipe's `steps`.
        on_message: receives messages: the summary of the run, progress if standard error is not a
            terminal, and what is skipped, stopped or written. None = no output.
        changes: fields of the recipe, such as `steps=1000` or `model={"fusion": "refine"}`.

    Raises:
        InputError: if data, recipe and options do not match, or an image is unusable.
        DivergenceError: if the loss becomes infinite or NaN.
        WorkerError: if a data-loading process dies.
    """
    require("lightning_fabric", "train", "training")
    if tensorboard:
        require("tensorboard", "tensorboard", "--tensorboard")
    require_numbers(1, devices=devices, early_stopping=early_stopping)
    require_numbers(0, max_minutes=max_minutes, validate_every=validate_every, epochs=epochs)
    accelerator = choose_device(device).type
    if resume is not None:
        given = (data, out, epochs, changes or None, recipe if recipe != DEFAULT_RECIPE else None)
        if skip_bad or any(value is not None for value in given):
            raise RecipeError("a run is resumed with its own data and recipe; give resume alone")
        wanted, data = read_run(Path(resume))
    elif data is None:
        raise RecipeError("give data=DATA.yaml, or resume=FOLDER of a run")
    else:
        wanted = recipe if isinstance(recipe, Recipe) else read_recipe(os.fspath(recipe))
        wanted = change_recipe(wanted, **changes) if changes else wanted
    from blitznet.training.launcher import find_processes

    processes = find_processes(devices)
    options = LoopOptions(
        processes.count, accelerator, workers, max_minutes, validate_every, early_stopping,
        compile, skip_bad, tensorboard, epochs,
    )  # fmt: skip
    reporter = ProgressReporter(on_message if processes.is_first else None)
    resume, out = (None if path is None else Path(path) for path in (resume, out))
    with reporter.heartbeat(), terminated_as_interrupted(), ExitStack() as stack:
        return _train(wanted, Path(data), out, resume, options, processes, reporter, stack)


def _train(
    recipe: Recipe,
    data: Path,
    out: Path | None,
    resume: Path | None,
    options: LoopOptions,
    processes: "Processes",
    reporter: ProgressReporter,
    stack: ExitStack,
) -> TrainingRun:
    """See `train`. The first process prepares the folder, then the others join."""
    from blitznet.training.launcher import explain_lost_process, launch, report_failure

    folder: Path | None = None
    failure: InputError | None = None
    if processes.is_first:
        try:
            prepared = resume or _begin(recipe, data, out, options, reporter)
            stack.enter_context(locked(prepared))
            if resume is not None:
                _continue(resume, recipe, data, options)
            folder = prepared  # None after an error: the other processes then end, too
        except InputError as error:
            if processes.count == 1 or not processes.is_launched:
                raise
            failure = error  # raised after the launch, because the other processes wait for it
    try:
        fabric = launch(recipe, options.accelerator, processes)
        folder = fabric.broadcast(folder)
        if failure is not None:
            raise failure
        if folder is None:
            raise SystemExit(1)
        return _train_in(folder, data, options, fabric, reporter)
    except KeyboardInterrupt:
        if folder is not None:
            model, remedy = folder / MODEL_FILE, _how_to_resume(folder)
            if model.is_file():
                remedy = f"{model} is trained; measure it with: blitznet eval {model} --data {data}"
            reporter.on_message(f"Interrupted; {remedy}")
        raise
    except BlitzNetError as error:
        if folder is not None and folder != resume and processes.is_first:
            _discard_unstarted(folder)
        report_failure(processes, error)
        raise
    except RuntimeError as error:
        cause = explain_lost_process(error, folder) if processes.count > 1 else None
        if cause is None:
            raise
        report_failure(processes, cause)
        raise cause from None


def _discard_unstarted(folder: Path) -> None:
    """Empty the folder of a run that failed before its first step, so that it can be used again."""
    if not any((folder / name).exists() for name in (LOG_FILE, STATE_FILE)):
        for name in (RUN_FILE, SKIPPED_FILE):
            (folder / name).unlink(missing_ok=True)
        with suppress(OSError):  # holds other files
            folder.rmdir()


def _how_to_resume(folder: Path) -> str:
    return f"continue with: blitznet train --resume {folder}"


def _train_in(
    folder: Path, data: Path, options: LoopOptions, fabric: "Fabric", reporter: ProgressReporter
) -> TrainingRun:
    """Train in a prepared folder; the first process also measures, reports and exports."""
    recipe, _ = read_run(folder)
    description, has_state = read_description(data), (folder / STATE_FILE).exists()
    with tensorboard_writer(folder) as write_events:

        def train_and_write() -> Steps:
            loop = TrainingLoop(recipe, description, folder, options, fabric, has_state)
            for step, row in loop.steps():
                if row is not None and options.tensorboard and fabric.is_global_zero:
                    write_events()
                yield step, row

        if not fabric.is_global_zero:
            collections.deque(train_and_write(), maxlen=0)
            return TrainingRun(folder, recipe.steps)
        steps = show_training(train_and_write(), recipe.steps, folder, reporter)
        if not (folder / MODEL_FILE).is_file():
            reporter.on_message(
                f"Stopped at step {steps} of {recipe.steps}; {_how_to_resume(folder)}"
            )
            return TrainingRun(folder, steps)
        metrics = finish_run(folder, data, options.accelerator, options.workers, reporter)
        if options.tensorboard:
            write_events()
    return TrainingRun(folder, steps, metrics)


def _begin(
    recipe: Recipe, data: Path, out: Path | None, options: LoopOptions, reporter: ProgressReporter
) -> Path:
    """Check the data, fit the recipe to it, and create the folder of a new run."""
    on_message = reporter.on_message
    require_new(out)
    description = read_description(data)
    entries = description.entries("train")
    has_boxes = any(entry.boxes for entry in entries)
    has_maps = any(entry.masks or entry.refined_masks for entry in entries)
    recipe = fit_to_data(fit_to_start(recipe), len(description.classes), has_boxes, has_maps)
    require_fit(recipe, description, options)
    require_timm_model(recipe.model.backbone)
    device = choose_device(options.accelerator)
    precision = usable_precision(recipe.precision, device)
    if starts_from_imagenet(recipe):
        on_message(describe_imagenet_weights(recipe.model.backbone))
    report = _check(description, data, options, reporter.is_shown)
    statistics, names = report.statistics["train"], description.classes[1:]
    labelled = KnownClasses(
        *(
            [name for name, count in zip(names, counts[1:], strict=False) if count]
            for counts in (statistics.boxes, statistics.pixels[:IGNORE_INDEX])
        )
    )
    if not any(labelled):
        raise LabelError(
            f"{data}: no image of train has a box or a pixel that is not ignored, so there is "
            f"nothing to learn; blitznet check-data {data} shows what its labels hold"
        )
    recipe = fit_to_data(
        recipe, len(description.classes), bool(labelled.boxes), bool(labelled.masks)
    )
    images = sum(len(source) for split, _, source in report.sources if split == "train")
    if options.epochs is not None:
        steps = math.ceil(options.epochs * images / recipe.global_batch_size)
        recipe = change_recipe(recipe, steps=steps)
    recipe = keep_dropped(recipe, description.classes)
    known = known_to_start(recipe, description.classes)
    supervised = KnownClasses(
        *(
            [name for name in names if name in {*one, *two}]
            for one, two in zip(labelled, known, strict=True)
        )
    )
    folder = make_folder(out, Path("runs/train") / file_name(recipe.name), overwrite=None)
    write_run(folder, recipe, data, description, supervised, precision)
    for line in describe_start(recipe, report, supervised, known, device, precision):
        on_message(line)
    on_message(f"Run: {folder}")
    if report.errors:
        write_skipped(folder, report.errors, description)
        for error in report.errors:
            on_message(f"skipped: {error}")
    reporter.doing = "preparing the first step"
    return folder


def _check(
    description: DataDescription, data: Path, options: LoopOptions, show_progress: bool
) -> CheckReport:
    """Check the data; only with `skip_bad` may it have errors, and only in single images."""
    splits = ["train", *({VALIDATION_SPLIT} & description.splits.keys())]
    workers = usable_cores() if options.workers else 0
    report = check_data(description, data, splits, workers=workers, show_progress=show_progress)
    errors = report.errors
    for error in errors:
        if error.index is None:  # of a whole source, not of an image that could be skipped
            raise InputError(str(error))
    if errors and not options.skip_bad:
        raise LabelError(
            f"{data} has {count_of(len(errors), 'error')}, the first: {errors[0]}; see all "
            f"with blitznet check-data {data}, or skip those images with --skip-bad"
        )
    return report


def _continue(folder: Path, recipe: Recipe, data: Path, options: LoopOptions) -> None:
    """Check that an interrupted run can be resumed, even if it has no state yet."""
    if (folder / MODEL_FILE).exists():
        raise RecipeError(
            f"{folder} is finished: {folder / MODEL_FILE} is the trained network; if its metrics "
            "or model.onnx are missing, run blitznet eval or blitznet export"
        )
    state = folder / STATE_FILE
    trained = read_progress(state).recipe if state.exists() else None
    description = read_description(data)
    require_unchanged(folder, description, trained)
    require_fit(recipe, description, options)
    for unfinished in unfinished_files(folder):
        unfinished.unlink()
