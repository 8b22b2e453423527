"""blitznet batch."""

import typer

from blitznet.cli import options
from blitznet.cli.app import app, print_error
from blitznet.extras import require


@app.command()
def batch(
    source: str = typer.Argument(
        metavar="INPUT",
        help="Folder, pattern, text or Parquet list of paths or URIs, or WebDataset tar file.",
    ),
    out: str = typer.Option(
        ..., "--out", "-o", metavar="DIR", help="Folder or URI for the Parquet parts."
    ),
    model: str | None = options.MODEL,
    score: float = options.SCORE,
    engine: str | None = options.ENGINE,
    batch_size: int | None = options.BATCH,
    save_masks: bool = typer.Option(
        False, "--save-masks", help="Also store segmentation maps, as PNGs."
    ),
    cpus_per_worker: int = typer.Option(1, min=1, help="Cores of each worker."),
    workers: str | None = typer.Option(
        None, metavar="N|MIN:MAX", help="Number of workers.", show_default="as many as fit"
    ),
    address: str | None = typer.Option(
        None, metavar="HOST:PORT|auto", help="Running Ray cluster.", show_default="this machine"
    ),
    limit: int | None = typer.Option(
        None, min=1, help="Only the first N images.", show_default="all"
    ),
    shard_size: int = typer.Option(1000, min=1, help="Images per Parquet part."),
    mixed: bool = typer.Option(
        False, "--mixed", help="Keep rows in DIR made with another model or score."
    ),
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
