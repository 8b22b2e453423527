"""blitznet models."""

import json

import typer

from blitznet.cli.app import app, print_table


@app.command()
def models(
    as_json: bool = typer.Option(False, "--json", help="Print all metadata as JSON."),
) -> None:
    """List the bundled networks with their training data and accuracy."""
    from blitznet.inference.model_table import model_records, model_table
    from blitznet.model_files import bundled_networks, default_model

    networks = bundled_networks()
    if as_json:
        typer.echo(json.dumps(model_records(networks), indent=2))
    elif networks:
        print_table(model_table(networks, default_model()))
    else:
        typer.echo("This installation bundles no network.")
