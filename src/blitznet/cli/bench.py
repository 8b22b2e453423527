"""blitznet bench."""

from pathlib import Path
from typing import Annotated

import typer

from blitznet.cli.app import app, print_table
from blitznet.cli.options import DeviceOption, ScoreOption, split_names


@app.command()
def bench(
    model: Annotated[
        str | None,
        typer.Argument(
            metavar="MODEL",
            help="Bundled network, checkpoint, or exported file.",
            show_default="blitznet300-mobile",
        ),
    ] = None,
    engines: Annotated[
        str | None,
        typer.Option(metavar="A,B", help="Engines to time.", show_default="all installed"),
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(metavar="FOLDER", help="Images to run on.", show_default="synthetic images"),
    ] = None,
    score: ScoreOption = 0.5,
    batch: Annotated[int, typer.Option(min=1, help="Images per forward pass.")] = 1,
    rounds: Annotated[int, typer.Option(min=1, help="Measurement rounds.")] = 3,
    seconds: Annotated[
        float, typer.Option(min=0, help="Minimum seconds of measurement per engine.")
    ] = 3.0,
    device: DeviceOption = "auto",
    json_file: Annotated[
        Path | None, typer.Option("--json", metavar="FILE", help="Also write the JSON to FILE.")
    ] = None,
) -> None:
    """Measure the speed of a network on every installed engine, stage by stage."""
    from blitznet.bench import bench, speed_table
    from blitznet.files.text_files import write_text

    speeds = bench(
        model,
        split_names(engines),
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
