"""Output of `blitznet check-data --out DIR`: a sheet of samples, plots and all findings."""

from pathlib import Path

import numpy as np

from blitznet.data.check.check_report import CheckReport
from blitznet.data.check.image_check import cached_anchors
from blitznet.data.check.label_sheet import draw_sheet
from blitznet.detection.matcher import MATCHING_IOU
from blitznet.extras import require
from blitznet.files.save_image import save_figure, save_image
from blitznet.files.text_files import write_json
from blitznet.model_info import ModelConfig

_DOTS = 5000  # boxes drawn, chosen at random


def write_folder(folder: Path, report: CheckReport, model: ModelConfig) -> None:
    """Write samples.png, boxes_by_class.png, pixels_by_class.png, box_sizes.png and report.json.

    Raises:
        InputError: if matplotlib is not installed, or a file cannot be written.
    """
    require("matplotlib", "plots", "plots of statistics")
    statistics = report.statistics
    names = next(iter(statistics.values())).names
    save_image(folder / "samples.png", draw_sheet(report.sources, names))
    has_boxes = {s: one for s, one in statistics.items() if one.counts["pictures_with_boxes"]}
    boxes = {split: one.boxes[1:] for split, one in has_boxes.items()}
    _plot_bars(folder / "boxes_by_class.png", names[1:], boxes, "boxes that count")
    shares = {
        split: np.round([100 * share for share in shares.values()], 3)
        for split, one in statistics.items()
        if (shares := one.pixel_shares())
    }
    _plot_bars(folder / "pixels_by_class.png", names, shares, "% of the labelled pixels")
    _plot_sizes(folder / "box_sizes.png", report, model)
    write_json(folder / "report.json", report.to_dict())


def _plot_bars(
    path: Path, names: tuple[str, ...], values: dict[str, np.ndarray], title: str
) -> None:
    """One row per class, one bar per split, on a logarithmic axis."""
    from matplotlib.figure import Figure

    thickness = 0.8 / max(1, len(values))
    figure = Figure(figsize=(8, 1.5 + 0.32 * len(names) * max(1, len(values) / 2)))
    axes = figure.add_subplot(xlabel=title, xscale="symlog" if values else "linear")
    for position, (split, lengths) in enumerate(values.items()):
        bars = axes.barh(np.arange(len(names)) + position * thickness, lengths, thickness)
        bars.set_label(split)
        axes.bar_label(bars, fmt="{:g}", padding=2, fontsize=7)
    axes.set_yticks(np.arange(len(names)) + 0.4 - thickness / 2, names)
    axes.invert_yaxis()
    axes.margins(x=0.1)
    if values:
        axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=len(values))
    save_figure(figure, path)


def _plot_sizes(path: Path, report: CheckReport, model: ModelConfig) -> None:
    """Width and height of boxes and anchors at the network's input size."""
    from matplotlib.figure import Figure

    statistics = list(report.statistics.values())
    shapes = np.concatenate([one.shapes for one in statistics])
    has_anchor = np.concatenate([one.best_iou for one in statistics]) >= MATCHING_IOU
    chosen = np.random.default_rng(0).permutation(len(shapes))[:_DOTS]
    sides, is_matched = shapes[chosen] * model.image_size, has_anchor[chosen]
    corners = cached_anchors(model).numpy()
    anchor_sides = np.unique((corners[:, 2:] - corners[:, :2]).round(1), axis=0).T
    share = 100 * has_anchor.mean() if len(has_anchor) else 100.0
    figure = Figure(figsize=(7, 7))
    axes = figure.add_subplot(
        xlabel=f"width, pixels of {model.name}'s {model.image_size} pixel input",
        ylabel="height",
        title=f"{share:.1f} % of {len(has_anchor)} boxes match an anchor (IoU {MATCHING_IOU})",
        xscale="log",
        yscale="log",
    )
    matched, lonely = sides[is_matched].T, sides[~is_matched].T
    axes.scatter(matched[0], matched[1], s=4, alpha=0.4, label="boxes", linewidths=0)
    axes.scatter(lonely[0], lonely[1], s=6, color="tab:red", label="matches one anchor only")
    axes.scatter(anchor_sides[0], anchor_sides[1], s=40, color="black", marker="+", label="anchors")
    axes.set_aspect("equal")
    axes.legend(frameon=False, loc="upper left")
    save_figure(figure, path)
