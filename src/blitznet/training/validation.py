"""Validation during a run: metrics, the best weights so far, and early stopping."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import torch

from blitznet.data.source import LabelSource
from blitznet.evaluation.evaluate import engine_of, measure
from blitznet.evaluation.metrics import Evaluation, Metrics
from blitznet.model.blitznet import BlitzNet
from blitznet.model.checkpoint import save_checkpoint
from blitznet.model_files import CheckpointInfo
from blitznet.training.log import Row, read_rows, write_rows

VALIDATION_SPLIT = "val"
VALIDATION_FILE = "validation.csv"
BEST_FILE = "best.safetensors"
LAST_FILE = "last.safetensors"

VALIDATION_FIELDS = ("step", "score", "voc07", "voc12", "coco", "mean_iou", "seconds")


def read_validation(folder: Path) -> list[Row]:
    """Rows of `VALIDATION_FIELDS` so far, by step; fractions, or None for a missing task."""
    return read_rows(folder / VALIDATION_FILE, VALIDATION_FIELDS)


def with_metrics(info: CheckpointInfo, metrics: Metrics) -> CheckpointInfo:
    """A checkpoint's metadata with its metrics on the `val` split."""
    return info.model_copy(update={"metrics": {VALIDATION_SPLIT: metrics.summary()}})


def validate(
    folder: Path,
    network: BlitzNet,
    info: CheckpointInfo,
    sources: Sequence[LabelSource],
    device: torch.device,
    workers: int,
    interrupted: Sequence[int],
) -> None:
    """Measure the weights of a step, and keep them if they are the best so far.

    Writes `last.safetensors`, `best.safetensors` and, last, `validation.csv`: a killed validation
    is repeated, a complete one is not. Changes neither the network nor any random state.

    Args:
        folder: folder of the run.
        network: network to measure.
        info: metadata of its checkpoint, with the step of the weights.
        sources: sources of the validation split.
        device: device of the network.
        workers: processes that read images.
        interrupted: becomes non-empty when a signal arrives; then no row is written.

    Raises:
        KeyboardInterrupt: if the validation was interrupted.
        InputError: for the first unusable image or label.
    """
    if any(row["step"] == info.training["steps"] for row in read_validation(folder)):
        return

    def stop_if_interrupted(*_: object) -> None:
        if interrupted:
            raise KeyboardInterrupt

    # The copy and the data loader draw random numbers.
    with torch.random.fork_rng([]), closing(engine_of(network, info, device)) as engine:
        evaluation = Evaluation(info.names, by_area=False)
        metrics = measure(
            engine, sources, workers=workers, found=stop_if_interrupted, evaluation=evaluation
        )
    keep_measured(folder, metrics, network, info)


def best_row(rows: Sequence[Row]) -> Row | None:
    """The row with the best score, the first one on a tie; None if there is no score."""
    scored = [row for row in rows if row["score"] is not None]
    return max(scored, key=lambda row: row["score"], default=None)


def validations_without_gain(folder: Path) -> int:
    """Number of validations since the best one; 0 if there is no score."""
    rows = read_validation(folder)
    best = best_row(rows)
    return 0 if best is None else len(rows) - 1 - rows.index(best)


def keep_measured(folder: Path, metrics: Metrics, network: BlitzNet, info: CheckpointInfo) -> None:
    """Add a validation's metrics to the rows and files of a run.

    Args:
        folder: folder of the run.
        metrics: metrics of the weights.
        network: network with these weights.
        info: metadata of its checkpoint, to which the metrics are added.
    """
    rows = read_validation(folder)
    best, score, info = best_row(rows), metrics.score, with_metrics(info, metrics)
    save_checkpoint(folder / LAST_FILE, network, info)
    if score is not None and (best is None or score > best["score"]):
        save_checkpoint(folder / BEST_FILE, network, info)
    kinds = {kind: (metrics.mean_ap or {}).get(kind) for kind in ("voc07", "voc12", "coco")}
    row = {"step": info.training["steps"], "score": score, **kinds, "mean_iou": metrics.mean_iou}
    row["seconds"] = metrics.seconds
    write_rows(folder / VALIDATION_FILE, VALIDATION_FIELDS, [*rows, row])
