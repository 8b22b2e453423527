"""blitznet bench."""

from pathlib import Path

import typer

from blitznet.cli import options
from blitznet.cli.app import app, print_table


@app.command()
def bench(
    model: str | None = typer.Argument(
        None,
        metavar="MODEL",
        help="Bundled network, checkpoint, or exported file.",
        show_default="blitznet300-mobile",
    ),
    engines: str | None = typer.Option(
        None, metavar="A,B", help="Engines to time.", show_default="all installed"
    ),
    images: Path | None = typer.Option(
        None, metavar="FOLDER", help="Images to run on.", show_default="synthetic images"
    ),
    score: float = options.SCORE,
    batch: int = typer.Option(1, min=1, help="Images per forward pass."),
    rounds: int = typer.Option(3, min=1, help="Measurement rounds."),
    seconds: float = typer.Option(3.0, min=0, help="Minimum seconds of measurement per engine."),
    device: str = options.DEVICE,
    json_file: Path | None = typer.Option(
        None, "--json", metavar="FILE", help="Also write the JSON to FILE."
    ),
) -> None:
    """Measure the speed of a network on every installed engine, stage by stage."""
    from blitznet.bench import bench, speed_table
    from blitznet.files.text_files import write_text

    speeds = bench(
        model,
        options.split_names(engines),
        images=images,
        score=score,
        batch=batch,
        rounds=rounds,
        seconds=seconds,
        device=device,
        on_message=lambda line: typer.echo(f"{line} ...", err=True),
    )
    print_table(speed_table(speeds), whole=True)
    typer.echo(speeds.to_json())
    if json_file is not None:
        write_text(json_file, speeds.to_json() + "\n")
