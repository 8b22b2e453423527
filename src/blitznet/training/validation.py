"""Validation during a run: its figures, the best weights so far, and early stopping."""

from collections.abc import Sequence
from contextlib import closing
from pathlib import Path

import torch

from blitznet.data.source import LabelSource
from blitznet.evaluation.evaluate import engine_of, measure
from blitznet.evaluation.metrics import Metrics
from blitznet.model.blitznet import BlitzNet
from blitznet.model.checkpoint import save_checkpoint
from blitznet.model_files import CheckpointInfo
from blitznet.training.log import read_rows, write_rows

VALIDATION_SPLIT = "val"
VALIDATION_FILE = "validation.csv"
BEST_FILE = "best.safetensors"
LAST_FILE = "last.safetensors"

VALIDATION_FIELDS = ("step", "score", "voc07", "voc12", "coco", "mean_iou", "seconds")

ValidationRow = dict[str, float | None]  # of `VALIDATION_FIELDS`


def read_validation(folder: Path) -> list[ValidationRow]:
    """What a run has measured so far, by step; fractions, None for what the network lacks."""
    rows = read_rows(folder / VALIDATION_FILE)
    return [
        {name: float(row[name]) if row[name] else None for name in VALIDATION_FIELDS}
        for row in rows
    ]


def with_metrics(info: CheckpointInfo, metrics: Metrics) -> CheckpointInfo:
    """The description of a checkpoint with the figures of its run's `val` split."""
    return info.model_copy(update={"metrics": {VALIDATION_SPLIT: metrics.summary()}})


def forget_validation(folder: Path, last_step: int) -> None:
    """Drop what was measured behind the step that a run continues from."""
    rows = read_validation(folder)
    if any((row["step"] or 0) > last_step for row in rows):
        _write(folder, [row for row in rows if (row["step"] or 0) <= last_step])


def validate(
    folder: Path,
    step: int,
    network: BlitzNet,
    info: CheckpointInfo,
    sources: Sequence[LabelSource],
    device: torch.device,
    workers: int,
    interrupted: Sequence[int],
) -> None:
    """Measure the weights of a step, and keep them if they are the best so far.

    Leaves in the folder `last.safetensors`, `best.safetensors` and then `validation.csv`, so that a
    validation that was killed is simply made again; one that was made is not. Touches neither the
    network nor any state of random numbers.

    Args:
        folder: of the run.
        step: that the weights are of.
        network: to be measured.
        info: of its checkpoint.
        sources: of the validation split.
        device: where the network runs.
        workers: processes that read images.
        interrupted: measuring ends, without a row, when something gets into it.

    Raises:
        KeyboardInterrupt: if it was interrupted.
        InputError: for the first image or label that cannot be used.
    """
    if any(row["step"] == step for row in read_validation(folder)):
        return

    def stop_if_interrupted(*_: object) -> None:
        if interrupted:
            raise KeyboardInterrupt

    # The copy and the data loader draw random numbers.
    with torch.random.fork_rng([]), closing(engine_of(network, info, device)) as engine:
        metrics = measure(engine, sources, workers=workers, found=stop_if_interrupted)
    keep_measured(folder, step, metrics, network, info)


def best_row(rows: Sequence[ValidationRow]) -> ValidationRow | None:
    """The row of the best score, at a tie the first; None if nothing could be measured."""
    scored = [row for row in rows if row["score"] is not None]
    return max(scored, key=lambda row: row["score"] or 0.0, default=None)


def validations_without_gain(folder: Path) -> int:
    """How many were made since the best one; 0 if nothing could be measured."""
    rows = read_validation(folder)
    best = best_row(rows)
    return 0 if best is None else len(rows) - 1 - rows.index(best)


def keep_measured(
    folder: Path, step: int, metrics: Metrics, network: BlitzNet, info: CheckpointInfo
) -> None:
    """Add what was measured to a run's rows and files.

    Args:
        folder: of the run.
        step: that the weights are of.
        metrics: that were measured.
        network: of these weights.
        info: of its checkpoint; the metrics are added.
    """
    rows = read_validation(folder)
    best, score, info = best_row(rows), metrics.score, with_metrics(info, metrics)
    save_checkpoint(folder / LAST_FILE, network, info)
    if score is not None and (best is None or score > (best["score"] or 0.0)):
        save_checkpoint(folder / BEST_FILE, network, info)
    kinds = {kind: (metrics.mean_ap or {}).get(kind) for kind in ("voc07", "voc12", "coco")}
    row = {"step": step, "score": score, **kinds, "mean_iou": metrics.mean_iou}
    _write(folder, [*rows, row | {"seconds": metrics.seconds}])


def _write(folder: Path, rows: Sequence[ValidationRow]) -> None:
    whole_steps = [row | {"step": int(row["step"] or 0)} for row in rows]
    write_rows(folder / VALIDATION_FILE, VALIDATION_FIELDS, whole_steps)
