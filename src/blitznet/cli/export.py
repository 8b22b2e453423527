"""blitznet export."""

from pathlib import Path

import typer

from blitznet.cli import options
from blitznet.cli.app import app, print_error, print_line, print_table
from blitznet.extras import require_training


@app.command()
def export(
    model: str = typer.Argument(metavar="MODEL", help="Bundled network or checkpoint file."),
    format_name: str = typer.Option(
        "onnx", "--format", metavar="onnx|openvino", help="File format."
    ),
    precision: str = typer.Option(
        "fp32", metavar="fp32|fp16|int8", help="Precision of the weights."
    ),
    calibrate: Path | None = typer.Option(
        None, metavar="DATA.yaml", help="Calibration images for int8: split train, or the first."
    ),
    score: float = typer.Option(0.01, min=1e-6, max=1, help="Minimum score of an object."),
    iou: float = typer.Option(0.45, min=0, max=1, help="IoU threshold of NMS."),
    top: int = typer.Option(200, min=1, help="Maximum objects per image."),
    seg_map: bool = typer.Option(False, "--seg-map", help="Also output the segmentation map."),
    data: Path | None = typer.Option(
        None, metavar="DATA.yaml", help="Also compare mAP and mIoU on this data set."
    ),
    split: str = typer.Option("val", help="Split of --data."),
    classes: str | None = options.AVERAGED_CLASSES,
    out: Path | None = typer.Option(
        None, "--out", "-o", metavar="FILE", help="Output file.", show_default="MODEL.onnx"
    ),
    overwrite: bool = typer.Option(False, "--overwrite", help="Replace an existing FILE."),
    force: bool = typer.Option(False, "--force", help="Keep the file even if it differs too much."),
) -> None:
    """Write a network as one self-contained file and compare it with the checkpoint.

    If they differ more than the precision allows, exits with 1 and writes no file.
    """
    require_training("blitznet export")
    from blitznet.data.description import read_description
    from blitznet.exporting.formats import require_export
    from blitznet.model_files import find_checkpoint

    find_checkpoint(model)
    require_export(out, Path(model).stem, format_name, precision, calibrate, overwrite)
    if calibrate is not None:
        read_description(calibrate)
    if data is not None:
        options.require_split(data, split, options.split_names(classes))
    from blitznet.detection.limits import Limits
    from blitznet.exporting.export import export
    from blitznet.exporting.parity import parity_table

    exported = export(
        model, out, format=format_name, precision=precision, limits=Limits(score, iou, top),
        seg_map=seg_map, calibrate=calibrate, data=data, split=split,
        classes=options.split_names(classes), overwrite=overwrite, force=force,
    )  # fmt: skip
    print_table(parity_table(exported.parity))
    for problem in filter(None, (*exported.problems, exported.caution)):
        print_error(problem)
    if exported.is_kept:
        print_line(f"Wrote {exported.path}; parity report: {exported.report}")
    if exported.problems:
        if not exported.is_kept:
            print_error(f"{exported.path} was not written; --force keeps it; see {exported.report}")
        raise typer.Exit(1)
