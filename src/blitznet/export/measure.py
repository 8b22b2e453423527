"""mAP and mIoU of a checkpoint and of a file made from it, on the same pictures."""

from collections.abc import Sequence
from pathlib import Path

from blitznet.evaluation.evaluate import evaluate
from blitznet.evaluation.metrics import Metrics

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
    reference = evaluate(model, data, split, engine="torch", device="cpu", classes=classes)
    exported = evaluate(path, data, split, device="cpu", classes=classes)
    figures = _figures(reference), _figures(exported)
    return {name: (figures[0][name], figures[1][name]) for name in figures[0]}


def _figures(metrics: Metrics) -> dict[str, float]:
    figures: dict[str, float | None] = {}
    if metrics.mean_ap is not None:
        figures |= {name: metrics.mean_ap[kind] for kind, name in _AP_NAMES.items()}
    figures["mIoU"] = metrics.mean_iou
    return {name: value for name, value in figures.items() if value is not None}
