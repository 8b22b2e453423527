"""blitznet table."""

import functools
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from blitznet.cli.app import app, print_table
from blitznet.cli.options import DeviceOption, split_names
from blitznet.errors import InputError
from blitznet.extras import require

if TYPE_CHECKING:
    from blitznet.paper.table_report import TableReport


@app.command()
def table(
    number: Annotated[int, typer.Argument(metavar="N", help="Number of the table, 1 to 8.")],
    per_class: Annotated[bool, typer.Option("--per-class", help="Also show every class.")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print Markdown.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON, with every seed.")] = False,
    figure: Annotated[
        Path | None,
        typer.Option(metavar="FILE.png", help="Table 7: draw figure 4, accuracy against speed."),
    ] = None,
    results: Annotated[Path, typer.Option(metavar="DIR", help="Folder of our results.")] = Path(
        "results"
    ),
    run: Annotated[
        bool, typer.Option("--run", help="First train and measure missing rows.")
    ] = False,
    full: Annotated[
        bool, typer.Option("--full", help="With --run: the paper's rows, on the full data sets.")
    ] = False,
    only: Annotated[
        str | None,
        typer.Option(metavar="A,B,C", help="With --run: these experiments.", show_default="all"),
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option(
            metavar="0,1", help="With --run: these seeds.", show_default="the experiment's own"
        ),
    ] = None,
    max_minutes: Annotated[
        float | None, typer.Option(min=0, help="With --run: stop after N minutes; resumable.")
    ] = None,
    device: DeviceOption = "auto",
    workers: Annotated[int, typer.Option(min=0, help="Data-loading processes.")] = 2,
) -> None:
    """Show a table of the paper beside our figures.

    --run continues where an earlier call stopped or was killed.
    """
    from blitznet.paper.figure_4 import draw_figure_4
    from blitznet.paper.table_report import fill_in, to_dict
    from blitznet.paper.tables import choose_experiments, find_table

    chosen = find_table(number)
    if run:
        require("lightning_fabric", "train", "training")
        wanted, chosen_seeds = choose_experiments(chosen, split_names(only), full), _seeds(seeds)
        from blitznet.paper.training_queue import train_missing

        on_message = functools.partial(typer.echo, err=True)
        train_missing(wanted, results, chosen_seeds, device, workers, max_minutes, on_message)
    report = fill_in(chosen, results)
    if figure is not None:
        draw_figure_4(report, figure)
    if as_json:
        typer.echo(json.dumps(to_dict(report), indent=2))
    else:
        _print(report, per_class, markdown)


def _print(report: "TableReport", per_class: bool, markdown: bool) -> None:
    from blitznet.paper.table_report import grids_of, markdown_table, terminal_table

    table = report.table
    typer.echo(f"Table {table.number}: {table.caption}. Figures in per cent unless said.")
    for grid in grids_of(report, per_class):
        typer.echo(f"\n{grid.title}\n")
        if markdown:
            typer.echo(markdown_table(grid))
        else:
            print_table(terminal_table(grid), least_width=130)
    typer.echo()
    for note in report.notes:
        typer.echo(f"- {note}")


def _seeds(text: str | None) -> list[int] | None:
    """Of a list with commas; None for None."""
    parts = split_names(text)
    if parts is not None and not all(part.isdecimal() for part in parts):
        raise InputError(f"--seeds {text}: give whole numbers from 0 on, for example --seeds 0,1,2")
    return None if parts is None else [int(part) for part in parts]
