"""The end of a run: evaluate its network, write the report, export."""

from collections.abc import Mapping
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

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
from blitznet.training.log import LOG_FIELDS, LOG_FILE, read_rows
from blitznet.training.loop import MODEL_FILE
from blitznet.training.run_record import RUN_FILE
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
    folder: Path, data: Path, device: str, workers: int, reporter: ProgressReporter
) -> Metrics | None:
    """Measure the network of a finished run, write its report and export it.

    Args:
        folder: folder of the run.
        data: path of the data description.
        device: device of the network.
        workers: processes that read images.
        reporter: receives messages about written files and failures.

    Returns:
        The metrics; None if the data has no `val` split.
    """
    on_message, record = reporter.on_message, read_json(folder / RUN_FILE)
    path = folder / MODEL_FILE
    model, info = load_checkpoint(path)
    step, steps = info.training["steps"], record["recipe"]["steps"]
    if step != steps:
        rows = read_validation(folder)
        since = sum(row["step"] > step for row in rows)
        on_message(
            f"Stopped early at step {rows[-1]['step']} of {steps}: no improvement in "
            f"{count_of(since, 'validation')}; the network is that of step {step}"
        )
    metrics, description = None, read_description(data)
    if VALIDATION_SPLIT in description.splits:
        review = DetailedEvaluation(info.names)
        sources = description.open_split(VALIDATION_SPLIT)
        sources = without_skipped(sources, VALIDATION_SPLIT, folder)
        with closing(engine_of(model, info, device)) as engine:
            metrics = measure(
                engine,
                sources,
                workers=workers,
                evaluation=review,
                show_progress=reporter.is_shown,
            )
        metrics = replace(metrics, model=str(path), data=str(data), split=VALIDATION_SPLIT)
        save_checkpoint(path, model, with_metrics(info, metrics))
        write_json(folder / METRICS_FILE, metrics.to_dict())
        if step not in [row["step"] for row in read_validation(folder)]:  # it is if stopped early
            keep_measured(folder, metrics, model, info)
        _report(folder, review, metrics, record, on_message)
        if step == steps and (better := better_weights(folder, metrics)) is not None:
            on_message(better)
    _export(folder, on_message)
    exported = next(one for one in (folder / ONNX_FILE, path) if one.is_file())
    on_message(
        f"The trained network is in {folder}; predict with it: "
        f"blitznet predict IMAGE --model {exported}"
    )
    return metrics


def better_weights(folder: Path, metrics: Metrics) -> str | None:
    """Say that an earlier validation was better than the result; None if none was."""
    best, last = best_row(read_validation(folder)), metrics.score
    if best is None or last is None or best["score"] <= last:
        return None
    return (
        f"{folder / BEST_FILE} is better on {VALIDATION_SPLIT}: {best['score']:.3f} at step "
        f"{best['step']}; {MODEL_FILE} has {last:.3f}"
    )


def _report(
    folder: Path,
    review: DetailedEvaluation,
    metrics: Metrics,
    record: Mapping[str, Any],
    on_message: OnMessage,
) -> None:
    records = {"Recipe": record["recipe"], "Environment": record["environment"]}
    try:
        log, validations = read_rows(folder / LOG_FILE, LOG_FIELDS), read_validation(folder)
        page = write_report(folder / REPORT_FOLDER, review, metrics, log, validations, records)
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
