"""blitznet eval."""

from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from blitznet.cli import options
from blitznet.cli.app import app, print_line, print_table
from blitznet.errors import BlitzNetError
from blitznet.extras import require
from blitznet.files.result_folder import make_folder, require_usable

if TYPE_CHECKING:
    from blitznet.evaluation.metrics import Metrics


@app.command(name="eval")
def evaluate(
    model: str = typer.Argument(
        metavar="MODEL", help="Bundled network, checkpoint, or exported file."
    ),
    data: Path = typer.Option(metavar="DATA.yaml", help="Data description."),
    split: str = typer.Option("val", help="Split to evaluate."),
    classes: str | None = options.AVERAGED_CLASSES,
    device: str = options.DEVICE,
    engine: str | None = typer.Option(
        None,
        metavar="NAME",
        help="Inference engine: torch, openvino, ..., or auto.",
        show_default="torch in float32; onnxruntime or openvino for exported files",
    ),
    batch: int = typer.Option(16, min=1, help="Images per forward pass."),
    workers: int = typer.Option(1, min=0, help="Data-loading processes."),
    submission: str | None = typer.Option(
        None, metavar="voc|coco", help="Also write the files for that evaluation server."
    ),
    report: bool = typer.Option(False, "--report", help="Also write a page of curves and images."),
    out: Path | None = options.OUT,
    overwrite: bool = options.OVERWRITE,
    quiet: bool = options.QUIET,
) -> None:
    """Measure mAP (VOC07, VOC12, COCO) and mIoU of a network on labelled images."""
    require("torch", "train", "evaluation")
    if report:
        require("matplotlib", "plots", "--report")
    from blitznet.evaluation.submission import require_server

    options.require_network(model, engine, device)
    if submission is not None:
        require_server(submission)
    options.require_split(data, split, options.split_names(classes))
    require_usable(out, overwrite)
    from blitznet.evaluation import evaluate as evaluation

    folder = make_folder(out, Path("runs/eval"), overwrite)
    try:
        metrics = evaluation.evaluate(
            model, data, split, engine=engine, device=device, classes=options.split_names(classes),
            batch_size=batch, workers=workers, out=folder, submission=submission, report=report,
            show_progress=not quiet,
        )  # fmt: skip
    except BlitzNetError:
        with suppress(OSError):  # if anything was written
            folder.rmdir()
        raise
    if not quiet:
        _print(metrics, folder, submission, report)


def _print(metrics: "Metrics", folder: Path, submission: str | None, report: bool) -> None:
    from blitznet.evaluation.evaluate import METRICS_FILE
    from blitznet.evaluation.metrics import metrics_table

    if submission is not None:
        print_line(f"Files for the {submission} server: {folder}")
    if metrics.has_figures:
        print_table(metrics_table(metrics))
        if report:
            print_line(f"Report: {folder / 'index.html'}")
        print_line(f"Metrics: {folder / METRICS_FILE}")
