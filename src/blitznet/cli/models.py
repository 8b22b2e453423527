"""blitznet models."""

import json
from typing import Annotated

import typer

from blitznet.cli.app import app, print_table


@app.command()
def models(
    as_json: Annotated[bool, typer.Option("--json", help="Everything, for programs.")] = False,
) -> None:
    """List the bundled networks: how they were trained, how accurate they are."""
    from blitznet.inference.model_table import model_records, model_table
    from blitznet.model_files import bundled_checkpoints, default_model, read_info

    files = bundled_checkpoints()
    infos = {name: read_info(file) for name, file in files.items()}
    if as_json:
        typer.echo(json.dumps(model_records(files, infos), indent=2))
    elif infos:
        print_table(model_table(files, infos, default_model()))
    else:
        typer.echo("This installation bundles no network.")
