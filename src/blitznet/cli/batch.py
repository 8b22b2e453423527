"""blitznet batch."""

from typing import Annotated

import typer

from blitznet.cli.app import app, print_error
from blitznet.cli.options import BatchOption, EngineOption, ModelOption, ScoreOption
from blitznet.extras import require


@app.command()
def batch(
    source: Annotated[
        str,
        typer.Argument(
            metavar="INPUT",
            help="Folder, pattern, text or Parquet list of paths or URIs, or WebDataset tar file.",
        ),
    ],
    out: Annotated[
        str, typer.Option("--out", "-o", metavar="DIR", help="Folder or URI for the Parquet parts.")
    ],
    model: ModelOption = None,
    score: ScoreOption = 0.5,
    engine: EngineOption = None,
    batch_size: BatchOption = None,
    save_masks: Annotated[
        bool, typer.Option("--save-masks", help="Also store segmentation maps, as PNGs.")
    ] = False,
    cpus_per_worker: Annotated[int, typer.Option(min=1, help="Cores of each worker.")] = 1,
    workers: Annotated[
        str | None,
        typer.Option(metavar="N|MIN:MAX", help="Number of workers.", show_default="as many as fit"),
    ] = None,
    address: Annotated[
        str | None,
        typer.Option(
            metavar="HOST:PORT|auto", help="Running Ray cluster.", show_default="this machine"
        ),
    ] = None,
    limit: Annotated[
        int | None, typer.Option(min=1, help="Only the first N images.", show_default="all")
    ] = None,
    shard_size: Annotated[int, typer.Option(min=1, help="Images per Parquet part.")] = 1000,
    mixed: Annotated[
        bool, typer.Option("--mixed", help="Keep rows in DIR made with another model or score.")
    ] = False,
) -> None:
    """Predict millions of images with Ray, into Parquet; run it again to resume."""
    for package in ("ray", "pyarrow"):
        require(package, "ray", "blitznet batch")
    from blitznet.cluster.predict_batch import predict_batch

    report = predict_batch(
        source, out, model=model, score=score, engine=engine, batch=batch_size,
        save_masks=save_masks, cpus_per_worker=cpus_per_worker, workers=workers, address=address,
        limit=limit, shard_size=shard_size, mixed=mixed, show_progress=True, on_message=print_error,
    )  # fmt: skip
    for kind, count in report.errors.most_common():
        print_error(f"{count} x {kind}")
    typer.echo(f"{report}, in {out}")
