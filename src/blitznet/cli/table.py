"""blitznet table."""

import json
from pathlib import Path

import typer

from blitznet.cli.app import app, print_table


@app.command()
def table(
    number: int = typer.Argument(metavar="N", help="Number of the table, 1 to 8."),
    per_class: bool = typer.Option(False, "--per-class", help="Also show every class."),
    as_json: bool = typer.Option(False, "--json", help="Print JSON, with every seed."),
    results: Path = typer.Option(Path("results"), metavar="DIR", help="Folder of our results."),
) -> None:
    """Show a table of the paper next to our results."""
    from blitznet.paper.table_report import fill_in, grids_of, terminal_table, to_dict
    from blitznet.paper.tables import find_table

    report = fill_in(find_table(number), results)
    if as_json:
        typer.echo(json.dumps(to_dict(report), indent=2))
        return
    typer.echo(f"Table {number}: {report.table.caption}. Figures in per cent unless noted.")
    for grid in grids_of(report, per_class):
        typer.echo(f"\n{grid.title}\n")
        print_table(terminal_table(grid), whole=True)
    typer.echo()
    for note in report.notes:
        typer.echo(f"- {note}")
