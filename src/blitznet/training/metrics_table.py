"""`metrics.json` as a table for people: a row a class, figures in per cent."""

from typing import Any

from rich.table import Table

_AP_TITLES = {"voc07": "AP (VOC07)", "voc12": "AP (VOC12)", "coco": "AP (COCO)"}


def metrics_table(metrics: dict[str, Any]) -> Table:
    """Classes that are averaged first, then those that are not, then the means."""
    table = Table("class")
    columns: list[tuple[dict[str, float | None], float | None]] = []
    if metrics["ap"] is not None:
        for kind, title in _AP_TITLES.items():
            table.add_column(title, justify="right")
            columns.append((metrics["ap"][kind], metrics["mean_ap"][kind]))
    if metrics["iou"] is not None:
        table.add_column("IoU", justify="right")
        columns.append((metrics["iou"], metrics["mean_iou"]))
    labelled = {
        name for values, _ in columns for name, value in values.items() if value is not None
    }
    averaged = ["background", *metrics["classes"]]
    others = sorted(labelled - set(averaged))
    for name in [name for name in averaged if name in labelled]:
        table.add_row(name, *(_per_cent(values.get(name)) for values, _ in columns))
    table.add_section()
    for name in others:
        cells = (_per_cent(values.get(name)) for values, _ in columns)
        table.add_row(f"{name} (not averaged)", *cells, style="dim")
    table.add_section()
    table.add_row("mean", *(_per_cent(mean) for _, mean in columns), style="bold")
    return table


def _per_cent(fraction: float | None) -> str:
    return "-" if fraction is None else f"{100 * fraction:.1f}"
