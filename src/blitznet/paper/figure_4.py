"""Figure 4: accuracy against speed."""

from pathlib import Path
from typing import NamedTuple

from blitznet.errors import InputError
from blitznet.extras import require
from blitznet.paper.figure import VOC07_AP
from blitznet.paper.paper_table import PaperTable
from blitznet.paper.results import Results
from blitznet.paper.table_7 import FPS
from blitznet.whole_file import whole_file


class Point(NamedTuple):
    """One network.

    Attributes:
        name: as in table 7.
        fps: pictures a second.
        mean_ap: on VOC07 test, per cent.
        is_ours: whether the speed is; else both figures are the paper's.
        is_ours_throughout: whether the accuracy is ours, too.
    """

    name: str
    fps: float
    mean_ap: float
    is_ours: bool = False
    is_ours_throughout: bool = False


def speed_points(table: PaperTable, results: Results) -> list[Point]:
    """The points of the paper's table 7, and ours where our speed was measured.

    Where our accuracy was not, the point takes the paper's, and says so.
    """
    points = []
    for row in table.block.rows:
        points.append(Point(row.labels[0], row.paper[FPS], row.paper[VOC07_AP]))
        if row.experiment is None:
            continue
        speed = results.measured(row.experiment, FPS)
        accuracy = results.measured(row.experiment, VOC07_AP)
        if speed is not None:
            mean_ap = accuracy.mean if accuracy is not None else row.paper[VOC07_AP]
            points.append(Point(row.labels[0], speed.mean, mean_ap, True, accuracy is not None))
    return points


def draw_figure_4(table: PaperTable, results: Results, path: Path) -> None:
    """Write the figure as a picture.

    Args:
        table: 7.
        results: what was measured.
        path: of the picture, as .png, .svg or .pdf.

    Raises:
        InputError: for another table or kind of file, or without matplotlib.
    """
    if table.number != 7:
        raise InputError(
            f"--figure draws table 7 (figure 4), not table {table.number}; "
            f"run: blitznet table 7 --figure {path}"
        )
    if path.suffix.lower() not in (".png", ".svg", ".pdf"):
        raise InputError(f"{path}: a figure is written as .png, .svg or .pdf")
    require("matplotlib", "plots", "drawing figure 4")
    import matplotlib as mpl

    mpl.use("Agg")
    from matplotlib.figure import Figure

    points = speed_points(table, results)
    record = results.speed_record()
    device = record.machine.device if record is not None else ""
    styles = {  # by whose the speed and whose the accuracy is: label, marker, colour, filling
        (False, False): ("the paper's, Titan X (Maxwell)", "o", "tab:grey", "tab:grey"),
        (True, False): (f"our speed, {device}; accuracy of the paper", "s", "tab:blue", "none"),
        (True, True): (f"ours, {device}", "s", "tab:blue", "tab:blue"),
    }
    figure = Figure(figsize=(7, 4.5), layout="constrained")
    axes = figure.add_subplot()
    for kind, (label, marker, colour, filling) in styles.items():
        chosen = [point for point in points if (point.is_ours, point.is_ours_throughout) == kind]
        if chosen:
            axes.scatter(
                [point.fps for point in chosen],
                [point.mean_ap for point in chosen],
                label=label,
                marker=marker,
                edgecolors=colour,
                facecolors=filling,
            )
    speeds = [point.fps for point in points]
    if max(speeds) > 10 * min(speeds):
        axes.set_xscale("log")
        axes.xaxis.set_major_formatter("{x:g}")
    axes.margins(0.2, 0.12)
    for point in points:
        # Names of the fastest would not fit on the right.
        side = ("right", -6) if point.fps > 0.8 * max(speeds) else ("left", 6)
        axes.annotate(
            point.name,
            (point.fps, point.mean_ap),
            (side[1], -3),
            textcoords="offset points",
            ha=side[0],
            fontsize=8,
        )
    axes.grid(alpha=0.3)
    axes.set(xlabel="pictures a second", ylabel="mAP on VOC07 test, %")
    axes.set_title("Figure 4: accuracy against speed")
    figure.legend(loc="outside lower center", fontsize=8)
    with whole_file(path) as temporary:
        figure.savefig(temporary, dpi=150, format=path.suffix[1:].lower())
