"""Write the report of a measured network into a folder."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from blitznet.evaluation.metrics import Metrics
from blitznet.evaluation.report.figures import draw_confusion, draw_curves, draw_precision_recall
from blitznet.evaluation.report.page import make_page
from blitznet.evaluation.report.review import SCORE, Review
from blitznet.evaluation.report.sheet import draw_best_worst
from blitznet.extras import require
from blitznet.text_files import write_json
from blitznet.whole_file import whole_file

PAGE_FILE = "index.html"
NUMBERS_FILE = "confusion.json"


def write_report(
    folder: Path,
    review: Review,
    metrics: Metrics,
    log: Sequence[Mapping[str, str]] = (),
    validation: Sequence[Mapping[str, float | None]] = (),
    records: Mapping[str, Mapping[str, Any]] | None = None,
) -> Path:
    """Write figures, the numbers behind them, and a page that shows all.

    Args:
        folder: made if missing; files of the same names are replaced.
        review: accumulated the images that `metrics` were measured on.
        metrics: of the network.
        log: rows of a training run's log, for its curves; empty = none are drawn.
        validation: what the run measured on the way.
        records: recipe, environment and the like, shown under their names.

    Returns:
        The page.

    Raises:
        InputError: if matplotlib is not installed, or a file cannot be written.
    """
    require("matplotlib", "plots", "the report")
    folder.mkdir(parents=True, exist_ok=True)
    names, pictures, numbers = review.names, dict[str, str](), dict[str, Any]()
    if log:
        draw_curves(log, validation, folder / "curves.png")
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
    title = f"{metrics.model} on {metrics.split}"
    with whole_file(folder / PAGE_FILE) as temporary:
        temporary.write_text(make_page(title, metrics, pictures, records or {}), encoding="utf-8")
    return folder / PAGE_FILE


def _as_table(counts: np.ndarray, names: tuple[str, ...]) -> dict[str, Any]:
    """Rows are true, columns predicted."""
    return {"classes": list(names), "counts": counts.tolist()}
