"""Figure 4 of the paper, accuracy against speed, with our networks.

python tools/figure_4.py figure4.png
"""

from pathlib import Path
from statistics import fmean
from typing import Annotated

import typer
from matplotlib.figure import Figure

from blitznet.files.save_image import save_figure
from blitznet.paper.table_report import TableReport, fill_in
from blitznet.paper.tables import find_table

Point = tuple[str, float, float, str]  # name, images per second, mAP in per cent, style

# By the source of speed and accuracy: label, marker, edge colour, fill colour.
PAPER, OUR_SPEED, OURS = "paper", "our speed", "ours"
_STYLES = {
    PAPER: ("the paper's, Titan X (Maxwell)", "o", "tab:grey", "tab:grey"),
    OUR_SPEED: ("our speed, {}; accuracy of the paper", "s", "tab:blue", "none"),
    OURS: ("ours, {}", "s", "tab:blue", "tab:blue"),
}


def speed_points(report: TableReport) -> list[Point]:
    """The points of the paper's table 7, and ours for networks whose speed we measured.

    If we did not measure the accuracy, the point has the paper's, and its style says so.
    """
    points: list[Point] = []
    accuracy, fps, _ = report.table.blocks[0].columns
    for row in report.table.blocks[0].rows:
        name, theirs = row.labels[0], row.printed[accuracy]
        points.append((name, row.printed[fps], theirs, PAPER))
        speed, ours = report.measured(row, fps), report.measured(row, accuracy)
        if speed is not None:
            mean_ap, style = (fmean(ours.values), OURS) if ours else (theirs, OUR_SPEED)
            points.append((name, speed.values[0], mean_ap, style))
    return points


def figure_4(
    path: Annotated[Path, typer.Argument(metavar="FILE.png", help="A .png, .svg or .pdf.")],
    results: Annotated[Path, typer.Option(metavar="DIR", help="Folder of our results.")] = Path(
        "results"
    ),
) -> None:
    """Draw the points of table 7."""
    report = fill_in(find_table(7), results)
    points = speed_points(report)
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for style, (label, marker, edge, face) in _STYLES.items():
        chosen = [(fps, mean_ap) for _, fps, mean_ap, of in points if of == style]
        if chosen:
            points_xy, text = zip(*chosen, strict=True), label.format(report.device)
            axes.scatter(*points_xy, label=text, marker=marker, edgecolors=edge, facecolors=face)
    speeds = [fps for _, fps, _, _ in points]
    if max(speeds) > 10 * min(speeds):
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
    axes.margins(0.2, 0.12)
    for name, fps, mean_ap, _ in points:
        # The names of the fastest networks would not fit on the right.
        side, shift = ("right", -6) if fps > 0.8 * max(speeds) else ("left", 6)
        place, offset = (fps, mean_ap), (shift, -3)
        axes.annotate(name, place, offset, textcoords="offset points", ha=side, fontsize=8)
    axes.grid(alpha=0.3)
    axes.set(xlabel="images per second", ylabel="mAP on VOC07 test, %")
    axes.set_title("Figure 4: accuracy against speed")
    figure.legend(loc="outside lower center", fontsize=8)
    save_figure(figure, path)


if __name__ == "__main__":
    typer.run(figure_4)
