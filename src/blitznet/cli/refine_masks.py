"""blitznet refine-masks."""

from pathlib import Path
from typing import Annotated

import typer

from blitznet.cli.app import app
from blitznet.cli.options import (
    DeviceOption,
    EngineOption,
    ModelOption,
    require_network,
    require_split,
)
from blitznet.extras import require_training


@app.command(name="refine-masks")
def refine_masks(
    data: Annotated[Path, typer.Argument(metavar="DATA.yaml", help="Data description.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="DIR", help="Output folder.")],
    model: ModelOption = None,
    split: Annotated[str, typer.Option(help="Split to process.")] = "train",
    confidence: Annotated[
        float, typer.Option(min=0, max=1, help="Minimum probability; the other pixels are void.")
    ] = 0.8,
    device: DeviceOption = "auto",
    engine: EngineOption = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace maps made with other settings.")
    ] = False,
) -> None:
    """Create segmentation maps for images that have only boxes, from a network and the boxes.

    If it is interrupted, run the same command again to continue.
    """
    require_training("blitznet refine-masks")
    require_split(data, split)
    require_network(model, engine, device)
    from blitznet.training.refine_masks import refine_masks

    refined = refine_masks(
        data, out, model, split=split, confidence=confidence, engine=engine, device=device,
         overwrite=overwrite,
    )  # fmt: skip
    typer.echo(f"{refined.maps} maps in {refined.folder}, {refined.written} of them new")
    if refined.written:
        typer.echo(f"{refined.decided:.0%} of the pixels inside boxes are labelled, others void")
    typer.echo(f"Train with them: add `refined_masks: {refined.folder}` to the source in {data}")
