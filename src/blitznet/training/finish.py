"""The end of a run: evaluate its network, write the report, export."""

from contextlib import closing
from dataclasses import replace
from pathlib import Path

from blitznet.data.check.check import without_skipped
from blitznet.data.description import read_description
from blitznet.errors import InputError, count_of
from blitznet.evaluation.evaluate import METRICS_FILE, engine_of, measure
from blitznet.evaluation.metrics import Metrics
from blitznet.evaluation.report.review import DetailedEvaluation
from blitznet.evaluation.report.write import write_report
from blitznet.extras import require_training
from blitznet.files.text_files import read_json, write_json
from blitznet.inference.engines.engine import OnMessage
from blitznet.model.checkpoint import load_checkpoint, save_checkpoint
from blitznet.model_files import read_info
from blitznet.training.log import LOG_FIELDS, LOG_FILE, read_rows
from blitznet.training.loop import MODEL_FILE
from blitznet.training.recipe import Recipe
from blitznet.training.run_record import RUN_FILE, read_run
from blitznet.training.show import ProgressReporter
from blitznet.training.validation import (
    BEST_FILE,
    VALIDATION_SPLIT,
    best_row,
    keep_measured,
    read_validation,
    with_metrics,
)

ONNX_FILE = "model.onnx"
REPORT_FOLDER = "report"


def finish_run(
    folder: Path, device: str, workers: int, reporter: ProgressReporter
) -> Metrics | None:
    """Measure the network of a finished run, write its report and export it.

    Args:
        folder: folder of the run.
        device: device of the network.
        workers: processes that read images.
        reporter: receives messages about written files and failures.

    Returns:
        The metrics; None if the data has no `val` split.
    """
    recipe, data = read_run(folder)
    on_message = reporter.on_message
    stop = _early_stop(folder, recipe)
    if stop is not None:
        on_message(stop)
    metrics = None
    if VALIDATION_SPLIT in read_description(data).splits:
        review = DetailedEvaluation(read_info(folder / MODEL_FILE).names)
        metrics = _measure(folder, data, device, workers, review, reporter.is_shown)
        _report(folder, review, metrics, on_message)
        if stop is None and (better := better_weights(folder, metrics)) is not None:
            on_message(better)
    _export(folder, on_message)
    model = next(path for path in (folder / ONNX_FILE, folder / MODEL_FILE) if path.is_file())
    on_message(
        f"The trained network is in {folder}; predict with it: "
        f"blitznet predict IMAGE --model {model}"
    )
    return metrics


def _early_stop(folder: Path, recipe: Recipe) -> str | None:
    """Why a finished run has fewer steps than its recipe; None if it has all of them."""
    best, rows = read_info(folder / MODEL_FILE).training["steps"], read_validation(folder)
    if best == recipe.steps:
        return None
    since = sum(row["step"] > best for row in rows)
    return (
        f"Stopped early at step {rows[-1]['step']} of {recipe.steps}: no improvement in "
        f"{count_of(since, 'validation')}; the network is that of step {best}"
    )


def better_weights(folder: Path, metrics: Metrics) -> str | None:
    """Say that an earlier validation was better than the result; None if none was."""
    best, last = best_row(read_validation(folder)), metrics.score
    if best is None or last is None or best["score"] <= last:
        return None
    return (
        f"{folder / BEST_FILE} is better on {VALIDATION_SPLIT}: {best['score']:.3f} at step "
        f"{best['step']}; {MODEL_FILE} has {last:.3f}"
    )


def _measure(
    folder: Path,
    data: Path,
    device: str,
    workers: int,
    review: DetailedEvaluation,
    show_progress: bool,
) -> Metrics:
    """Measure a finished run on its validation images, and write the metrics to its files."""
    path = folder / MODEL_FILE
    model, info = load_checkpoint(path)
    sources = read_description(data).open_split(VALIDATION_SPLIT)
    sources = without_skipped(sources, VALIDATION_SPLIT, folder)
    with closing(engine_of(model, info, device)) as engine:
        metrics = measure(
            engine, sources, workers=workers, evaluation=review, show_progress=show_progress
        )
    metrics = replace(metrics, model=str(path), data=str(data), split=VALIDATION_SPLIT)
    save_checkpoint(path, model, with_metrics(info, metrics))
    write_json(folder / METRICS_FILE, metrics.to_dict())
    steps = [row["step"] for row in read_validation(folder)]
    if info.training["steps"] not in steps:  # it is after early stopping
        keep_measured(folder, metrics, model, info)
    return metrics


def _report(
    folder: Path, review: DetailedEvaluation, metrics: Metrics, on_message: OnMessage
) -> None:
    record = read_json(folder / RUN_FILE)
    try:
        page = write_report(
            folder / REPORT_FOLDER,
            review,
            metrics,
            read_rows(folder / LOG_FILE, LOG_FIELDS),
            read_validation(folder),
            {"Recipe": record["recipe"], "Environment": record["environment"]},
        )
        on_message(f"Report: {page}")
    except InputError as error:  # the network is already saved
        on_message(f"No report: {error}")


def _export(folder: Path, on_message: OnMessage) -> None:
    """Export `model.onnx` beside the checkpoint, to predict without PyTorch."""
    try:
        require_training(ONNX_FILE)
        from blitznet.exporting.onnx_file import export_onnx

        export_onnx(folder / ONNX_FILE, *load_checkpoint(folder / MODEL_FILE))
    except InputError as error:
        on_message(f"No {ONNX_FILE}: {error}; then: blitznet export {folder / MODEL_FILE}")
    except RuntimeError as error:  # from PyTorch's exporter
        cause = str(error).partition("\n")[0]
        on_message(f"No {ONNX_FILE}: PyTorch cannot export this network ({cause})")
