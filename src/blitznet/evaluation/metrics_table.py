"""Metrics as a table: one row per class, in per cent."""

from collections.abc import Mapping

from rich.table import Table

from blitznet.evaluation.metrics import Metrics

_AP_TITLES = {"voc07": "AP (VOC07)", "voc12": "AP (VOC12)", "coco": "AP (COCO)"}
_NOT_AVERAGED = " (not averaged)"


def metrics_rows(metrics: Metrics) -> list[list[str]]:
    """The cells: titles, averaged classes, other classes with ground truth, means."""
    columns: list[tuple[str, Mapping[str, float | None], float | None]] = []
    if metrics.ap is not None and metrics.mean_ap is not None:
        for kind, title in _AP_TITLES.items():
            columns.append((title, metrics.ap[kind], metrics.mean_ap[kind]))
    if metrics.iou is not None:
        columns.append(("IoU", metrics.iou, metrics.mean_iou))
    labelled = {name for _, values, _ in columns for name in values if values[name] is not None}
    averaged = [name for name in ("background", *metrics.classes) if name in labelled]

    def row(name: str, note: str = "") -> list[str]:
        return [name + note, *(_per_cent(values.get(name)) for _, values, _ in columns)]

    return [
        ["class", *(title for title, _, _ in columns)],
        *(row(name) for name in averaged),
        *(row(name, _NOT_AVERAGED) for name in sorted(labelled - {*averaged})),
        ["mean", *(_per_cent(mean) for _, _, mean in columns)],
    ]


def metrics_table(metrics: Metrics) -> Table:
    """The same for a terminal."""
    (first, *titles), *rows, means = metrics_rows(metrics)
    table = Table(first)
    for title in titles:
        table.add_column(title, justify="right")
    for row in rows:
        table.add_row(*row, style="dim" if row[0].endswith(_NOT_AVERAGED) else None)
    table.add_section()
    table.add_row(*means, style="bold")
    return table


def _per_cent(fraction: float | None) -> str:
    return "-" if fraction is None else f"{100 * fraction:.1f}"
