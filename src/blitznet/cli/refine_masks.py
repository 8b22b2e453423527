"""blitznet refine-masks."""

import os
from pathlib import Path

import typer

from blitznet.cli import options
from blitznet.cli.app import app
from blitznet.extras import require_training


@app.command(name="refine-masks")
def refine_masks(
    data: Path = typer.Argument(metavar="DATA.yaml", help="Data description."),
    out: Path = typer.Option(..., "--out", "-o", metavar="DIR", help="Output folder."),
    model: str | None = options.MODEL,
    split: str = typer.Option("train", help="Split to process."),
    confidence: float = typer.Option(
        0.8, min=0, max=1, help="Minimum probability; the other pixels are void."
    ),
    device: str = options.DEVICE,
    engine: str | None = options.ENGINE,
    overwrite: bool = typer.Option(
        False, "--overwrite", help="Replace maps made with other settings."
    ),
) -> None:
    """Create segmentation maps for images that have only boxes, from a network and the boxes.

    If it is interrupted, run the same command again to continue.
    """
    require_training("blitznet refine-masks")
    options.require_split(data, split)
    options.require_network(model, engine, device)
    from blitznet.training.refine_masks import refine_masks

    refined = refine_masks(
        data, out, model, split=split, confidence=confidence, engine=engine, device=device,
         overwrite=overwrite,
    )  # fmt: skip
    typer.echo(f"{refined.maps} maps in {refined.folder}, {refined.written} of them new")
    if refined.written:
        typer.echo(f"{refined.decided:.0%} of the pixels inside boxes are labelled, others void")
    folder = os.path.relpath(refined.folder, data.parent)
    typer.echo(f"Train with them: add `refined_masks: {folder}` to the source in {data}")
