"""Figures of the report."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from blitznet.evaluation.average_precision import PrecisionRecall, area_ap, precision_envelope
from blitznet.files.save_image import save_figure
from blitznet.losses.joint import LossTerms

_MEASURED = {"voc12": "mAP (VOC12)", "coco": "mAP (COCO)", "mean_iou": "mIoU"}


def draw_curves(
    log: Sequence[Mapping[str, Any]], validation: Sequence[Mapping[str, Any]], path: Path
) -> None:
    """Plot loss terms, learning rate and validation metrics over the steps.

    Args:
        log: rows of `log.csv`.
        validation: rows of `validation.csv`; may be empty.
        path: path of the PNG.
    """
    from matplotlib.figure import Figure
    from matplotlib.ticker import LogLocator

    points = {title: _points(validation, name) for name, title in _MEASURED.items()}
    measured = {title: values for title, values in points.items() if values}
    losses = {name: _points(log, name) for name in LossTerms._fields}
    losses = {  # without the tasks that the network lacks
        name: values for name, values in losses.items() if any(loss for _, loss in values)
    }
    figure = Figure(figsize=(9, 3 if not measured else 5.6), layout="constrained")
    panels = figure.subplot_mosaic("AB;CC" if measured else "AB")
    panels["A"].set_title("loss")
    for name, values in losses.items():
        panels["A"].plot(*zip(*values, strict=True), marker=".", label=name)
    positive = [loss for values in losses.values() for _, loss in values if loss > 0]
    if positive and max(positive) > 10 * min(positive):
        panels["A"].set_yscale("log")
        panels["A"].yaxis.set_major_locator(LogLocator(subs=(1, 2, 5)))
        panels["A"].yaxis.set_major_formatter("{x:g}")
        panels["A"].yaxis.set_minor_formatter("")
    if losses:
        panels["A"].legend(frameon=False, fontsize=8)
    panels["B"].set_title("learning rate")
    panels["B"].plot(*zip(*_points(log, "lr"), strict=True), marker=".", color="tab:gray")
    if measured:
        panels["C"].set(title="on val, %", ylim=(0, 100))
        for title, values in measured.items():
            steps, fractions = zip(*values, strict=True)
            panels["C"].plot(steps, [100 * one for one in fractions], marker="o", label=title)
        panels["C"].legend(frameon=False, fontsize=8)
    for axes in panels.values():
        axes.set_xlabel("step")
        axes.grid(alpha=0.3)
    save_figure(figure, path)


def _points(rows: Sequence[Mapping[str, Any]], name: str) -> list[tuple[float, float]]:
    """Step and value of the rows that have a value."""
    return [(row["step"], row[name]) for row in rows if row[name] is not None]


def draw_precision_recall(curves: Mapping[str, PrecisionRecall], path: Path) -> None:
    """Plot precision over recall at IoU 0.5, one panel per class with the AP in its title.

    Args:
        curves: by class name; at least one, and none empty.
        path: path of the PNG.
    """
    from matplotlib.figure import Figure

    columns = min(5, len(curves))
    rows = -(-len(curves) // columns)
    figure = Figure(figsize=(2.2 * columns, 2.1 * rows), layout="constrained")
    panels = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False)
    for axes in panels.flat[len(curves) :]:
        axes.set_axis_off()
    for axes, (name, (recall, precision, _)) in zip(panels.flat, curves.items(), strict=False):
        envelope = precision_envelope(precision)
        axes.plot([0, *recall], [1, *precision], color="tab:gray", alpha=0.5, linewidth=0.8)
        axes.step([0, *recall], [envelope[0], *envelope], where="pre", color="tab:blue")
        axes.set_title(f"{name}  {100 * area_ap(recall, precision):.1f}", fontsize=9)
        axes.set(xlim=(0, 1), ylim=(0, 1.02))
        axes.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])  # long labels would touch the next panel's
        axes.grid(alpha=0.3)
    figure.supxlabel("recall", fontsize=9)
    figure.supylabel("precision", fontsize=9)
    save_figure(figure, path)


def draw_confusion(
    counts: np.ndarray, names: Sequence[str], background: str, title: str, path: Path
) -> None:
    """Draw a confusion matrix in per cent of the true class.

    Args:
        counts: (C, C) int64, [true, predicted]; classes with only zeros are omitted.
        names: class names, background first.
        background: label of background in this figure.
        title: title of the figure.
        path: path of the PNG.
    """
    from matplotlib.figure import Figure

    shown = np.flatnonzero(counts.sum(axis=0) + counts.sum(axis=1))
    shown = np.append(shown[shown > 0], 0)  # background last
    chosen = counts[np.ix_(shown, shown)]
    shares = 100 * chosen / np.maximum(1, chosen.sum(axis=1, keepdims=True))
    labels = [background if label == 0 else names[label] for label in shown.tolist()]
    side = 2.5 + 0.42 * len(shown)
    figure = Figure(figsize=(side, side), layout="constrained")
    axes = figure.add_subplot(title=title, xlabel="predicted", ylabel="true")
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=100)
    axes.set_xticks(range(len(labels)), labels, rotation=60, ha="right", rotation_mode="anchor")
    axes.set_yticks(range(len(labels)), labels)
    for (row, column), share in np.ndenumerate(shares):
        if chosen[row, column]:
            color = "white" if share > 60 else "black"
            text = f"{share:.0f}" if share >= 0.5 else "·"
            axes.text(column, row, text, ha="center", va="center", color=color, fontsize=7)
    save_figure(figure, path)
