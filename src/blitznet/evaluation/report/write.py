"""Write the report of a measured network into a folder."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from blitznet.evaluation.report.figures import draw_confusion, draw_curves, draw_precision_recall
from blitznet.evaluation.report.page import make_page
from blitznet.evaluation.report.review import SCORE, Review
from blitznet.evaluation.report.sheet import draw_best_worst
from blitznet.extras import require
from blitznet.training.log import LOG_FILE, read_rows
from blitznet.training.run_record import RUN_FILE, write_json
from blitznet.training.validation import read_validation
from blitznet.whole_file import whole_file

REPORT_FOLDER = "report"  # of a run
PAGE_FILE = "index.html"
NUMBERS_FILE = "confusion.json"


def write_report(
    folder: Path, review: Review, metrics: Mapping[str, Any], run: Path | None = None
) -> Path:
    """Pictures, the numbers behind them, and a page with all.

    Args:
        folder: made if missing; files of the same names are replaced.
        review: took in the pictures that `metrics` were measured on.
        metrics: what `metrics.json` holds.
        run: its curves, recipe and environment are shown, too; None = just a measured network.

    Returns:
        The page.

    Raises:
        InputError: if matplotlib is not installed, or a file cannot be written.
    """
    require("matplotlib", "plots", "the report")
    folder.mkdir(parents=True, exist_ok=True)
    names, pictures, numbers = review.names, dict[str, str](), dict[str, Any]()
    if run is not None and (log := read_rows(run / LOG_FILE)):
        draw_curves(log, read_validation(run), folder / "curves.png")
        pictures["curves.png"] = "Training"
    if review.has_boxes:
        draw_precision_recall(review.voc_ap.curves(), names, folder / "pr_curves.png")
        pictures["pr_curves.png"] = "Precision and recall at IoU 0.5, and AP (area)"
        title = f"boxes of score {SCORE:g} or more, % of the true class"
        counts = review.box_confusion.counts
        draw_confusion(counts, names, "nothing", title, folder / "confusion_boxes.png")
        pictures["confusion_boxes.png"] = "What boxes are taken for"
        numbers["boxes"] = _as_table(counts, names)
    if review.has_maps:
        counts = review.mean_iou.confusion
        title = "pixels, % of the true class"
        draw_confusion(counts, names, names[0], title, folder / "confusion_pixels.png")
        pictures["confusion_pixels.png"] = "What pixels are taken for"
        numbers["pixels"] = _as_table(counts, names)
    if review.best:
        with whole_file(folder / "best_worst.png") as temporary:
            draw_best_worst(review.best, review.worst, names).save(temporary, format="PNG")
        pictures["best_worst.png"] = "The best and the worst pictures"
    write_json(folder / NUMBERS_FILE, numbers)
    records = {}
    if run is not None:
        record = json.loads((run / RUN_FILE).read_text())
        records = {"Recipe": record["recipe"], "Environment": record["environment"]}
    title = f"{metrics['model']} on {metrics['split']}"
    with whole_file(folder / PAGE_FILE) as temporary:
        temporary.write_text(make_page(title, metrics, pictures, records), encoding="utf-8")
    return folder / PAGE_FILE


def _as_table(counts: np.ndarray, names: tuple[str, ...]) -> dict[str, Any]:
    """Rows are true, columns predicted."""
    return {"classes": list(names), "counts": counts.tolist()}
