"""blitznet eval."""

from pathlib import Path
from typing import Annotated

import typer

from blitznet.cli.app import app, print_table
from blitznet.cli.options import CalibrateOption, DeviceOption, OutOption, OverwriteOption
from blitznet.extras import require
from blitznet.result_folder import make_folder


@app.command(name="eval")
def evaluate(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="Bundled network, checkpoint, or exported file."),
    ],
    data: Annotated[Path, typer.Option("--data", metavar="DATA.yaml", help="Data description.")],
    split: Annotated[str, typer.Option("--split", help="Which of its splits.")] = "val",
    classes: Annotated[
        str | None,
        typer.Option("--classes", metavar="A,B,C", help="Average these.", show_default="all"),
    ] = None,
    device: DeviceOption = "auto",
    runtime: Annotated[
        str | None,
        typer.Option(
            "--runtime",
            metavar="NAME",
            help="What runs the network: torch, openvino, ..., or auto.",
            show_default="torch, which the others are measured by",
        ),
    ] = None,
    calibrate: CalibrateOption = None,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Pictures a forward pass.")] = 16,
    workers: Annotated[
        int, typer.Option("--workers", min=0, help="Processes that read pictures.")
    ] = 1,
    server: Annotated[
        str | None,
        typer.Option(
            "--submission",
            metavar="voc|coco",
            help="Also write what its evaluation server takes; the split needs no labels then.",
            show_default="none",
        ),
    ] = None,
    report: Annotated[
        bool,
        typer.Option("--report", help="Also draw confusions, curves, best and worst pictures."),
    ] = False,
    out: OutOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Measure a network on labelled pictures: mAP (VOC07, VOC12, COCO) and mIoU."""
    from blitznet.data.description import read_description
    from blitznet.evaluation.metrics_table import metrics_table
    from blitznet.evaluation.report.review import Review
    from blitznet.evaluation.report.write import write_report
    from blitznet.evaluation.submission import Submission
    from blitznet.training.run import evaluate_checkpoint
    from blitznet.training.run_record import METRICS_FILE, write_json

    chosen = [name.strip() for name in classes.split(",")] if classes else None
    default, submission, review = Path("runs/eval"), None, None
    if report:
        require("matplotlib", "plots", "--report")
        review = Review(read_description(data).classes)
    if server is not None:
        submission = Submission(server, make_folder(out, default, overwrite))
    metrics = evaluate_checkpoint(
        model,
        data,
        split,
        device,
        chosen,
        batch,
        workers,
        submission=submission,
        runtime=runtime,
        calibrate=calibrate,
        evaluation=review,
    )
    folder = submission.folder if submission else make_folder(out, default, overwrite)
    if submission is not None:
        typer.echo(f"{metrics['pictures']} pictures; what the {server} server takes is in {folder}")
    if metrics["ap"] is None and metrics["iou"] is None:
        return
    write_json(folder / METRICS_FILE, metrics)
    if review is not None:
        typer.echo(f"Report: {write_report(folder, review, metrics)}")
    print_table(metrics_table(metrics))
    typer.echo(f"{metrics['pictures']} pictures; figures in {folder / METRICS_FILE}")
