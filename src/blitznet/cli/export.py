"""blitznet export."""

from pathlib import Path
from typing import Annotated

import typer

from blitznet.cli.app import app, complain, print_table


@app.command()
def export(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="Bundled network or checkpoint file."),
    ],
    format_name: Annotated[
        str, typer.Option("--format", metavar="onnx|openvino|torchscript", help="Of the file.")
    ] = "onnx",
    precision: Annotated[
        str, typer.Option("--precision", metavar="fp32|fp16|int8", help="Of the weights.")
    ] = "fp32",
    calibrate: Annotated[
        Path | None,
        typer.Option(
            "--calibrate",
            metavar="DATA.yaml",
            help="Pictures for int8: of its split train, or its first one.",
            show_default="none",
        ),
    ] = None,
    score: Annotated[
        float, typer.Option("--score", min=1e-6, max=1, help="Least score of an object.")
    ] = 0.01,
    iou: Annotated[
        float, typer.Option("--iou", min=0, max=1, help="Drop weaker boxes that overlap more.")
    ] = 0.45,
    top: Annotated[int, typer.Option("--top", min=1, help="Most objects a picture.")] = 200,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="DATA.yaml",
            help="Compare mAP and mIoU on this, too.",
            show_default="none",
        ),
    ] = None,
    split: Annotated[str, typer.Option("--split", help="Which split of --data.")] = "val",
    classes: Annotated[
        str | None,
        typer.Option("--classes", metavar="A,B,C", help="Average these.", show_default="all"),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FILE", help="The file.", show_default="MODEL.onnx and the like"
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace FILE if it is there.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Keep the file even if it differs too much.")
    ] = False,
) -> None:
    """Write a network as one file with everything inside, and compare it with the checkpoint.

    Exits with 1, without the file, if the two differ more than the precision explains.
    """
    from blitznet.export.limits import Limits
    from blitznet.export.parity import parity_table
    from blitznet.export.run import export_network

    limits = Limits(score, iou, top)
    averaged = [name.strip() for name in classes.split(",")] if classes else None
    exported = export_network(
        model,
        format_name,
        precision,
        out,
        limits,
        calibrate,
        data,
        split,
        averaged,
        overwrite,
        force,
    )
    print_table(parity_table(exported.parity))
    for problem in exported.problems:
        complain(problem)
    if exported.is_kept:
        typer.echo(f"The file is {exported.path}, the comparison {exported.report}")
    if exported.problems:
        if not exported.is_kept:
            complain(
                f"{exported.path} was not written; --force keeps it, {exported.report} says more"
            )
        raise typer.Exit(1)
