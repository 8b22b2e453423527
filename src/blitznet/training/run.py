"""One run of `blitznet train` or `blitznet eval`: from a recipe to a measured network."""

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import torch

from blitznet.data.check.before_training import find_errors
from blitznet.data.check.check import default_workers
from blitznet.data.check.report import Finding, count_of
from blitznet.data.check.skipped import require_skippable, without_skipped, write_skipped
from blitznet.data.description import DataDescription, read_description
from blitznet.device import choose_device
from blitznet.errors import InputError, LabelError, RecipeError
from blitznet.evaluation.evaluate import Evaluation, evaluate
from blitznet.evaluation.submission import Submission, add_in_order, open_submission
from blitznet.inference.engines.choose import open_engine
from blitznet.model.checkpoint import load_checkpoint, save_checkpoint
from blitznet.model_files import read_info
from blitznet.result_folder import make_folder
from blitznet.training.loop import MODEL_FILE, STATE_FILE, train
from blitznet.training.network import fit_to_start
from blitznet.training.options import LoopOptions, require_fit
from blitznet.training.recipe import Recipe, fit_to_classes
from blitznet.training.run_record import (
    METRICS_FILE,
    read_run,
    write_json,
    write_run,
)
from blitznet.training.validation import (
    VALIDATION_SPLIT,
    keep_measured,
    read_validation,
    summarize,
)
from blitznet.whole_file import unfinished_files

Run = tuple[Path, int, Iterator[dict[str, float]]]  # folder, steps in all, rows of the log


# Where the first process tells those that it launches which folder it has chosen.
_FOLDER_VARIABLE = "BLITZNET_RUN_FOLDER"


def is_first_process() -> bool:
    """Whether this is the only process of a run, or the one that writes its files."""
    return int(os.environ.get("RANK", os.environ.get("LOCAL_RANK", "0"))) == 0


def start_training(
    recipe: Recipe,
    data: Path,
    out: Path | None,
    options: LoopOptions,
    skip_bad: bool = False,
) -> Run:
    """A new run, which trains as its rows are taken.

    Args:
        recipe: what to do.
        data: the data description.
        out: folder of the run; None = a new one.
        options: how to do it.
        skip_bad: leave out pictures with errors, and record that in the folder.

    Raises:
        InputError: if recipe or data cannot be used, or `out` is not empty.
    """
    description = read_description(data)
    recipe = fit_to_classes(fit_to_start(recipe), len(description.classes))
    require_fit(recipe, description, options)
    if is_first_process():
        errors = _errors_before_training(description, data, options, skip_bad)
        folder = make_folder(out, Path("runs/train") / recipe.name)
        write_run(folder, recipe, data)
        if errors:
            write_skipped(folder, errors, description)
        os.environ[_FOLDER_VARIABLE] = str(folder)
    elif out is not None or _FOLDER_VARIABLE in os.environ:
        folder = out or Path(os.environ[_FOLDER_VARIABLE])
    else:
        raise RecipeError("several processes need one folder to share; give it with --out DIR")
    return folder, recipe.steps, train(recipe, description, folder, options)


def _errors_before_training(
    description: DataDescription, data: Path, options: LoopOptions, skip_bad: bool
) -> list[Finding]:
    """What is wrong with single pictures, to leave them out; nothing may be, if not `skip_bad`."""
    splits = ["train", *({VALIDATION_SPLIT} & description.splits.keys())]
    workers = default_workers() if options.workers else 0
    errors = find_errors(description, data, splits, workers)
    require_skippable(errors)
    if errors and not skip_bad:
        raise LabelError(
            f"{data} has {count_of(len(errors), 'error')}, the first: {errors[0].problem}; see all "
            f"with blitznet check-data {data}, or leave those pictures out with --skip-bad"
        )
    return errors


def resume_training(folder: Path, options: LoopOptions) -> Run:
    """Go on with the run in `folder`; from its beginning if it died before its first checkpoint.

    Raises:
        InputError: if the folder holds no run, or the run is finished.
    """
    recipe, data = read_run(folder)
    if (folder / MODEL_FILE).exists():
        raise RecipeError(f"{folder} is finished: {folder / MODEL_FILE} is the trained network")
    if is_first_process():
        for unfinished in unfinished_files(folder):
            unfinished.unlink()
    resume = (folder / STATE_FILE).exists()
    return folder, recipe.steps, train(recipe, read_description(data), folder, options, resume)


def early_stop(folder: Path) -> str | None:
    """Why a finished run has fewer steps than its recipe, for people; None if it has them all."""
    recipe, _ = read_run(folder)
    best, rows = read_info(folder / MODEL_FILE).training["steps"], read_validation(folder)
    if best == recipe.steps:
        return None
    since = sum((row["step"] or 0) > best for row in rows)
    return (
        f"Stopped early at step {rows[-1]['step']:.0f} of {recipe.steps}: no gain in "
        f"{count_of(since, 'validation')}; the network is that of step {best}"
    )


def validate_run(
    folder: Path, device: str = "auto", evaluation: Evaluation | None = None
) -> dict[str, Any] | None:
    """Measure a finished run on its validation pictures and write the figures into its files.

    Args:
        folder: of the run.
        device: where the network runs.
        evaluation: see `evaluate`.

    Returns:
        What `metrics.json` holds, or None if the data has no `val` split.
    """
    _, data = read_run(folder)
    description = read_description(data)
    if VALIDATION_SPLIT not in description.splits:
        return None
    path = folder / MODEL_FILE
    metrics = evaluate_checkpoint(
        str(path),
        data,
        VALIDATION_SPLIT,
        choose_device(device),
        run=folder,
        evaluation=evaluation,
    )
    model, info = load_checkpoint(path)
    figures = {VALIDATION_SPLIT: summarize(metrics)}
    save_checkpoint(path, model, info.model_copy(update={"metrics": figures}))
    write_json(folder / METRICS_FILE, metrics)
    rows, step = read_validation(folder), info.training["steps"]
    if all(row["step"] != step for row in rows):  # as after stopping early
        keep_measured(folder, rows, step, metrics, metrics["seconds"], model, info)
    return metrics


def evaluate_checkpoint(
    name_or_path: str,
    data: Path,
    split: str,
    device: str | torch.device = "auto",
    classes: Sequence[str] | None = None,
    batch_size: int = 16,
    workers: int = 1,
    run: Path | None = None,
    submission: Submission | None = None,
    runtime: str | None = None,
    calibrate: Path | None = None,
    evaluation: Evaluation | None = None,
) -> dict[str, Any]:
    """The figures of `metrics.json` for a network on one split of a data description.

    Args:
        name_or_path: of the network: bundled, a checkpoint, or an exported file.
        data: the data description.
        split: which pictures.
        device: where it runs.
        classes: the means are over these; None = all with ground truth.
        batch_size: pictures a forward pass.
        workers: processes that read pictures.
        run: what this run left out for its errors is left out here, too.
        submission: what to write for an evaluation server; None = nothing, then labels are needed.
        runtime: of `runtimes.choice.RUNTIMES`, or `auto`; None = PyTorch in float32, which the
            others are measured by, and an exported file's own library.
        calibrate: data description with pictures for int8.
        evaluation: see `evaluate`.

    Raises:
        InputError: if network, data, split or classes do not exist or do not fit together.
    """
    engine = open_engine(name_or_path, runtime, device, calibrate=calibrate)
    info = engine.info
    description = read_description(data)
    if description.classes != info.names:
        raise InputError(
            f"{name_or_path} knows the classes {', '.join(info.names[1:])}; "
            f"{data} describes {', '.join(description.classes[1:])}"
        )
    started = time.monotonic()
    sources = description.open_split(split)
    if run is not None:
        sources = without_skipped(sources, split, run)
    if submission is None and not any(entry.is_labelled for entry in description.entries(split)):
        raise InputError(
            f"the split {split!r} has no labels to measure with; "
            "--submission voc|coco writes what the evaluation servers take"
        )
    with ExitStack() as files:
        found = None
        if submission is not None:
            algorithm = Path(name_or_path).stem
            opened = open_submission(submission, info.names, split, algorithm)
            found = add_in_order(files.enter_context(opened), sources)
        metrics = evaluate(engine, sources, classes, batch_size, workers, found, evaluation)
    return {
        "model": name_or_path,
        "runtime": engine.name,
        "data": str(data),
        "split": split,
        **metrics,
        "seconds": round(time.monotonic() - started, 1),
    }
