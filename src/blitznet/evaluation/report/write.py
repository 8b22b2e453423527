"""Write the evaluation report of a network: an HTML page, its figures and numbers."""

import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

import numpy as np
import yaml

from blitznet.evaluation.metrics import Metrics, metrics_rows
from blitznet.evaluation.report.example import write_examples
from blitznet.evaluation.report.figures import draw_confusion, draw_curves, draw_precision_recall
from blitznet.evaluation.report.review import SCORE, DetailedEvaluation
from blitznet.extras import require
from blitznet.files.text_files import write_json, write_text

PAGE_FILE = "index.html"
NUMBERS_FILE = "confusion.json"
CURVES_FILE = "pr_curves.json"

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 1100px; margin: 2em auto; padding: 0 1em; }
img { max-width: 100%; }
table { border-collapse: collapse; }
td { padding: 0.15em 0.8em; text-align: right; border-bottom: 1px solid #ddd; }
td:first-child { text-align: left; }
tr:first-child, tr:last-child { font-weight: bold; }
pre { background: #f5f5f5; padding: 1em; overflow-x: auto; }
"""


def write_report(
    folder: Path,
    review: DetailedEvaluation,
    metrics: Metrics,
    log: Sequence[Mapping[str, Any]] = (),
    validation: Sequence[Mapping[str, Any]] = (),
    records: Mapping[str, Mapping[str, Any]] | None = None,
) -> Path:
    """Write the figures, the numbers behind them, and the page.

    Args:
        folder: created if missing; existing files of the report are replaced.
        review: the evaluation that gave `metrics`.
        metrics: metrics of the network.
        log: rows of a training run's log, for its curves; empty = no curves.
        validation: rows of the run's validations.
        records: recipe, environment and so on, shown as YAML under their names.

    Returns:
        The path of the page.

    Raises:
        InputError: if matplotlib is not installed, or a file cannot be written.
    """
    require("matplotlib", "plots", "the report")
    folder.mkdir(parents=True, exist_ok=True)
    names, captions = review.names, dict[str, str]()
    counts: dict[str, np.ndarray] = {}

    def figure(name: str, caption: str) -> Path:
        captions[name] = caption
        return folder / name

    if log:
        draw_curves(log, validation, figure("curves.png", "Training"))
    if review.has_boxes:
        counts["boxes"] = review.box_counts
        _write_curves(folder / CURVES_FILE, metrics)
        found = {name: curve for name, curve in metrics.curves.items() if len(curve.recall)}
        missed = ", ".join(name for name in metrics.curves if name not in found)
        caption = "Precision and recall at IoU 0.5, and AP (area)"
        if found:
            path = figure("pr_curves.png", caption + (missed and f"; nothing found: {missed}"))
            draw_precision_recall(found, path)
        title = f"boxes of score {SCORE:g} or more, % of the true class"
        path = figure("confusion_boxes.png", "Confusion of boxes")
        draw_confusion(counts["boxes"], names, "nothing", title, path)
    if review.num_maps:
        counts["pixels"] = review.pixel_counts
        path = figure("confusion_pixels.png", "Confusion of pixels")
        draw_confusion(counts["pixels"], names, names[0], "pixels, % of the true class", path)
    captions |= write_examples(folder, review)
    numbers = {  # rows are true classes, columns predicted ones
        task: {"classes": list(names), "counts": confusion.tolist()}
        for task, confusion in counts.items()
    }
    write_json(folder / NUMBERS_FILE, numbers)
    write_text(folder / PAGE_FILE, _page(metrics, captions, records or {}), "xmlcharrefreplace")
    return folder / PAGE_FILE


def _write_curves(path: Path, metrics: Metrics) -> None:
    """The curves as lists of six decimals, one class per line."""
    lines = []
    for name, curve in metrics.curves.items():
        lists = {key: one.astype(float).round(6).tolist() for key, one in curve._asdict().items()}
        lines.append(f"{json.dumps(name)}: {json.dumps(lists)}")
    write_text(path, "{\n" + ",\n".join(lines) + "\n}\n")


def _page(
    metrics: Metrics, captions: Mapping[str, str], records: Mapping[str, Mapping[str, Any]]
) -> str:
    """The page as HTML; `captions` are by file name of the figure."""
    title = escape(f"{metrics.model} on {metrics.split}")
    rows = ["".join(f"<td>{escape(cell)}</td>" for cell in row) for row in metrics_rows(metrics)]
    parts = [
        f'<!doctype html>\n<html lang="en">\n<meta charset="utf-8">\n<title>{title}</title>',
        f"<style>{_STYLE}</style>\n<h1>{title}</h1>",
        f"<p>{escape(f'{metrics.pictures} images of {metrics.data}, {metrics.split}')}</p>",
        "<table>\n" + "\n".join(f"<tr>{row}</tr>" for row in rows) + "\n</table>",
    ]
    for name, caption in captions.items():
        caption = escape(caption)
        parts.append(f'<h2>{caption}</h2>\n<img src="{name}" alt="{caption}">')
    for name, record in records.items():
        text = yaml.safe_dump(dict(record), sort_keys=False, default_flow_style=False)
        parts.append(f"<h2>{escape(name)}</h2>\n<pre>{escape(text)}</pre>")
    return "\n".join([*parts, "</html>\n"])
