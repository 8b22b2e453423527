"""What `blitznet check-data --out DIR` writes: a sheet of samples, plots, and all findings."""

from pathlib import Path

import numpy as np

from blitznet.data.check.check import OpenData
from blitznet.data.check.picture_check import MATCHING_IOU, AnchorSet
from blitznet.data.check.report import Report
from blitznet.data.check.sheet import draw_sheet
from blitznet.extras import require
from blitznet.figure_file import save_figure
from blitznet.model_info import ModelConfig
from blitznet.text_files import write_json
from blitznet.whole_file import whole_file

_DOTS = 5000  # boxes drawn, a random choice


def require_plots() -> None:
    """Make sure that matplotlib is there.

    Raises:
        InputError: if it is not installed.
    """
    require("matplotlib", "plots", "plots of statistics")


def write_folder(folder: Path, report: Report, opened: OpenData, model: ModelConfig) -> None:
    """Write samples.png, boxes_by_class.png, pixels_by_class.png, box_sizes.png and report.json.

    Args:
        folder: exists.
        report: of the check.
        opened: what was checked.
        model: the network that it was checked for.

    Raises:
        InputError: if matplotlib is not installed, or a file cannot be written.
    """
    require_plots()
    with whole_file(folder / "samples.png") as temporary:
        draw_sheet(opened.sources, opened.names).save(temporary, format="png")
    counts = {
        split: dict(zip(s.names[1:], s.boxes[1:].tolist(), strict=True))
        for split, s in report.statistics.items()
        if s.num_with_boxes
    }
    _plot_bars(folder / "boxes_by_class.png", counts, "boxes that count", "{:.0f}")
    shares = {
        split: {name: 100 * share for name, share in s.items()}
        for split, counts_ in report.statistics.items()
        if (s := counts_.pixel_shares()) is not None
    }
    _plot_bars(folder / "pixels_by_class.png", shares, "% of the labelled pixels", "{:.2g}")
    _plot_sizes(folder / "box_sizes.png", report, AnchorSet(model))
    write_json(folder / "report.json", report.to_dict())


def _plot_bars(path: Path, values: dict[str, dict[str, float]], title: str, number: str) -> None:
    """A row a class, a bar a split, on a logarithmic axis; a class that is absent gets 0."""
    from matplotlib.figure import Figure

    names = list(next(iter(values.values()), {}))
    rows = np.arange(len(names))
    thickness = 0.8 / max(1, len(values))
    figure = Figure(figsize=(8, 1.5 + 0.32 * max(1, len(names) * max(1, len(values) / 2))))
    axes = figure.add_subplot(xlabel=title)
    positive = [value for split in values.values() for value in split.values() if value > 0]
    shortest = min(positive, default=1) / 2
    for position, (split, by_class) in enumerate(values.items()):
        lengths = [max(value, shortest) for value in by_class.values()]
        places = rows + (position - (len(values) - 1) / 2) * thickness
        bars = axes.barh(places, lengths, thickness, label=split)
        texts = [number.format(value) if value else "0" for value in by_class.values()]
        axes.bar_label(bars, texts, padding=2, fontsize=7)
    if positive:
        axes.set_xscale("log")
        axes.set_xlim(left=shortest, right=3 * max(positive))
    axes.set_yticks(rows, names)
    axes.invert_yaxis()
    axes.spines[["top", "right"]].set_visible(False)
    if values:
        axes.legend(frameon=False, loc="lower right", bbox_to_anchor=(1, 1), ncols=len(values))
    save_figure(figure, path)


def _plot_sizes(path: Path, report: Report, anchors: AnchorSet) -> None:
    """Width and height at the network's input, of boxes and of anchors."""
    from matplotlib.figure import Figure

    statistics = list(report.statistics.values())
    shapes = np.concatenate([np.zeros((0, 2)), *(s.shapes for s in statistics)])
    best_iou = np.concatenate([np.zeros(0), *(s.best_iou for s in statistics)])
    chosen = np.random.default_rng(0).permutation(len(shapes))[:_DOTS]
    sides, is_matched = shapes[chosen] * anchors.image_size, best_iou[chosen] >= MATCHING_IOU
    corners = anchors.anchors.numpy()
    anchor_sides = np.unique((corners[:, 2:] - corners[:, :2]).round(1), axis=0).T
    share = 100 * (best_iou >= MATCHING_IOU).mean() if len(best_iou) else 100.0
    figure = Figure(figsize=(7, 7))
    axes = figure.add_subplot(
        xlabel=f"width, pixels of {anchors.model}'s {anchors.image_size} pixel input",
        ylabel="height",
        title=f"{share:.1f} % of {len(best_iou)} boxes match an anchor (IoU {MATCHING_IOU})",
        xscale="log",
        yscale="log",
    )
    matched, lonely = sides[is_matched].T, sides[~is_matched].T
    axes.scatter(matched[0], matched[1], s=4, alpha=0.4, label="boxes", linewidths=0)
    axes.scatter(lonely[0], lonely[1], s=6, color="tab:red", label="learnt from one anchor only")
    axes.scatter(anchor_sides[0], anchor_sides[1], s=40, color="black", marker="+", label="anchors")
    axes.set_aspect("equal")
    axes.legend(frameon=False, loc="upper left")
    save_figure(figure, path)
