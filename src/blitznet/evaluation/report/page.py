"""The report as one page that any browser shows, without a server."""

from collections.abc import Mapping, Sequence
from html import escape
from typing import Any

import yaml

from blitznet.evaluation.metrics import Metrics
from blitznet.evaluation.metrics_table import metric_rows

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2em auto; padding: 0 1em; }
img { max-width: 100%; }
table { border-collapse: collapse; }
td, th { padding: 0.15em 0.8em; text-align: right; border-bottom: 1px solid #ddd; }
td:first-child, th:first-child { text-align: left; }
pre { background: #f5f5f5; padding: 1em; overflow-x: auto; }
"""


def make_page(
    title: str,
    metrics: Metrics,
    pictures: Mapping[str, str],
    records: Mapping[str, Mapping[str, Any]],
) -> str:
    """HTML.

    Args:
        title: of the page.
        metrics: of the network.
        pictures: caption by file name, relative to the page.
        records: recipe, environment and the like, shown as YAML under their names.
    """
    shown = "".join(
        f'<h2>{escape(caption)}</h2>\n<img src="{escape(name)}" alt="{escape(caption)}">\n'
        for name, caption in pictures.items()
    )
    written = "".join(
        f"<h2>{escape(name)}</h2>\n<pre>{escape(_as_yaml(record))}</pre>\n"
        for name, record in records.items()
    )
    measured = f"{metrics.pictures} images of {metrics.data}, {metrics.split}"
    return (
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{escape(title)}</title>'
        f"\n<style>{_STYLE}</style>\n<h1>{escape(title)}</h1>\n<p>{escape(measured)}</p>\n"
        f"{_table(metrics)}\n{shown}{written}</html>\n"
    )


def _table(metrics: Metrics) -> str:
    """A row a class that has a figure, the means last; per cent."""
    rows = metric_rows(metrics)
    shown = [_row(row, "td") for row in (*rows.averaged, *rows.others, rows.mean)]
    return f"<table>\n{_row(rows.titles, 'th')}{''.join(shown)}</table>"


def _row(cells: Sequence[str], tag: str) -> str:
    return f"<tr>{''.join(f'<{tag}>{escape(cell)}</{tag}>' for cell in cells)}</tr>\n"


def _as_yaml(record: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(record), sort_keys=False, default_flow_style=False)
