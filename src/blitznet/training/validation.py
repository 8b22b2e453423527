"""Validation during a run: its figures, the best weights so far, and early stopping."""

from collections.abc import Sequence
from contextlib import closing
from enum import Enum
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


class Verdict(Enum):
    """What a validation means for the run."""

    CONTINUE = "continue"
    STOP_EARLY = "stop early"
    INTERRUPTED = "interrupted"


class _Interruption(Exception):  # noqa: N818 - nothing is wrong
    """A validation is interrupted."""


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


class Validation:
    """Measures a run's weights on its validation images; has what was measured before, too.

    Leaves in the folder `last.safetensors`, `best.safetensors` and then `validation.csv`, so that a
    validation that was killed is simply made again.

    Args:
        folder: of the run.
        sources: of the validation split.
        device: where the network runs.
        workers: processes that read images.
        last_step: that the run continues from; what it measured later is forgotten.
        patience: validations without a gain after which the run stops; None = it never does.

    Attributes:
        rows: of `VALIDATION_FIELDS`, by step.
    """

    def __init__(
        self,
        folder: Path,
        sources: Sequence[LabelSource],
        device: torch.device,
        workers: int,
        last_step: int,
        patience: int | None = None,
    ):
        self.folder = folder
        self._sources = sources
        self._device = device
        self._workers = workers
        self._patience = patience
        self.rows = [row for row in read_validation(folder) if (row["step"] or 0) <= last_step]

    @property
    def seconds(self) -> float:
        """That the last validation took; 0 before the first one."""
        return (self.rows[-1]["seconds"] or 0.0) if self.rows else 0.0

    def judge(
        self, step: int, network: BlitzNet, info: CheckpointInfo, interrupted: Sequence[int]
    ) -> Verdict:
        """Measure weights unless that has been done, and keep them if they are the best so far.

        Touches neither the network nor any state of random numbers.

        Args:
            step: that the weights are of.
            network: to be measured.
            info: of its checkpoint.
            interrupted: measuring ends, without a row, when something gets into it.

        Raises:
            InputError: for the first image or label that cannot be used.
        """
        if not any(row["step"] == step for row in self.rows):
            try:
                self._measure(step, network, info, interrupted)
            except _Interruption:
                return Verdict.INTERRUPTED
        best = best_row(self.rows)
        without_gain = 0 if best is None else len(self.rows) - 1 - self.rows.index(best)
        has_patience = self._patience is None or without_gain < self._patience
        return Verdict.CONTINUE if has_patience else Verdict.STOP_EARLY

    def _measure(
        self, step: int, network: BlitzNet, info: CheckpointInfo, interrupted: Sequence[int]
    ) -> None:
        def stop_if_interrupted(*_: object) -> None:
            if interrupted:
                raise _Interruption

        # The copy and the data loader draw random numbers.
        with (
            torch.random.fork_rng([]),
            closing(engine_of(network, info.names, self._device)) as engine,
        ):
            metrics = measure(
                engine, self._sources, workers=self._workers, found=stop_if_interrupted
            )
        keep_measured(self.folder, self.rows, step, metrics, network, info)


def best_row(rows: Sequence[ValidationRow]) -> ValidationRow | None:
    """The row of the best score, of equals the first; None if nothing could be measured."""
    scored = [row for row in rows if row["score"] is not None]
    return max(scored, key=lambda row: row["score"] or 0.0, default=None)


def keep_measured(
    folder: Path,
    rows: list[ValidationRow],
    step: int,
    metrics: Metrics,
    network: BlitzNet,
    info: CheckpointInfo,
) -> None:
    """Add what was measured to a run's rows and files.

    Args:
        folder: of the run.
        rows: measured before; one is added.
        step: that the weights are of.
        metrics: that were measured.
        network: of these weights.
        info: of its checkpoint; the metrics are added.
    """
    best, score, info = best_row(rows), metrics.score, with_metrics(info, metrics)
    save_checkpoint(folder / LAST_FILE, network, info)
    if score is not None and (best is None or score > (best["score"] or 0.0)):
        save_checkpoint(folder / BEST_FILE, network, info)
    kinds = {kind: (metrics.mean_ap or {}).get(kind) for kind in ("voc07", "voc12", "coco")}
    row = {"step": step, "score": score, **kinds, "mean_iou": metrics.mean_iou}
    rows.append(row | {"seconds": metrics.seconds})
    whole_steps = [row | {"step": int(row["step"] or 0)} for row in rows]
    write_rows(folder / VALIDATION_FILE, VALIDATION_FIELDS, whole_steps)
