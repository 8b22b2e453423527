"""mAP and mIoU of a checkpoint and of a file made from it, on the same pictures."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from blitznet.training.run import evaluate_checkpoint

_AP_NAMES = {"voc07": "mAP (VOC07)", "voc12": "mAP (VOC12)", "coco": "mAP (COCO)"}


def measure_side_by_side(
    model: str, path: Path, data: Path, split: str, classes: Sequence[str] | None = None
) -> dict[str, tuple[float, float]]:
    """Both with the one loop that there is for it.

    Args:
        model: bundled name or checkpoint; runs in PyTorch, float32.
        path: of the file.
        data: data description.
        split: of it.
        classes: the means are over these; None = all with ground truth.

    Returns:
        By name of the metric, fractions of checkpoint and file.

    Raises:
        InputError: if data and network do not fit.
    """
    reference = evaluate_checkpoint(model, data, split, "cpu", classes, runtime="torch")
    exported = evaluate_checkpoint(str(path), data, split, "cpu", classes)
    figures = _figures(reference), _figures(exported)
    return {name: (figures[0][name], figures[1][name]) for name in figures[0]}


def _figures(metrics: dict[str, Any]) -> dict[str, float]:
    figures: dict[str, float | None] = {}
    for kind, name in _AP_NAMES.items() if metrics["mean_ap"] else ():
        figures[name] = metrics["mean_ap"][kind]
    figures["mIoU"] = metrics["mean_iou"]
    return {name: value for name, value in figures.items() if value is not None}
