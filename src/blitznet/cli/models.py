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
    from blitznet.model_files import DEFAULT_MODEL, bundled_networks

    networks = bundled_networks()
    if as_json:
        typer.echo(json.dumps(model_records(networks), indent=2))
    else:
        print_table(model_table(networks, DEFAULT_MODEL))
