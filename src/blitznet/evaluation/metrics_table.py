"""`metrics.json` as a table for people: a row a class, figures in per cent."""

from collections.abc import Mapping
from typing import NamedTuple

from rich.table import Table

from blitznet.evaluation.metrics import Metrics

_AP_TITLES = {"voc07": "AP (VOC07)", "voc12": "AP (VOC12)", "coco": "AP (COCO)"}


class MetricRows(NamedTuple):
    """The cells of the table; each row begins with the name of a class.

    Attributes:
        titles: of the columns.
        averaged: classes that the means are over, background before them.
        others: other classes with ground truth, by name.
        mean: the last row.
    """

    titles: list[str]
    averaged: list[list[str]]
    others: list[list[str]]
    mean: list[str]


def metric_rows(metrics: Metrics) -> MetricRows:
    """What `metrics.json` holds, as text."""
    titles, columns = ["class"], list[tuple[Mapping[str, float | None], float | None]]()
    if metrics.ap is not None and metrics.mean_ap is not None:
        for kind, title in _AP_TITLES.items():
            titles.append(title)
            columns.append((metrics.ap[kind], metrics.mean_ap[kind]))
    if metrics.iou is not None:
        titles.append("IoU")
        columns.append((metrics.iou, metrics.mean_iou))
    labelled = {
        name for values, _ in columns for name, value in values.items() if value is not None
    }
    averaged = ["background", *metrics.classes]

    def row(name: str) -> list[str]:
        return [name, *(_per_cent(values.get(name)) for values, _ in columns)]

    return MetricRows(
        titles,
        [row(name) for name in averaged if name in labelled],
        [row(name) for name in sorted(labelled - set(averaged))],
        ["mean", *(_per_cent(mean) for _, mean in columns)],
    )


def metrics_table(metrics: Metrics) -> Table:
    """Classes that are averaged first, then those that are not, then the means."""
    rows = metric_rows(metrics)
    table = Table(rows.titles[0])
    for title in rows.titles[1:]:
        table.add_column(title, justify="right")
    for row in rows.averaged:
        table.add_row(*row)
    table.add_section()
    for name, *cells in rows.others:
        table.add_row(f"{name} (not averaged)", *cells, style="dim")
    table.add_section()
    table.add_row(*rows.mean, style="bold")
    return table


def _per_cent(fraction: float | None) -> str:
    return "-" if fraction is None else f"{100 * fraction:.1f}"
