"""blitznet table."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from blitznet.cli.app import app, print_table
from blitznet.cli.options import DeviceOption
from blitznet.extras import require

if TYPE_CHECKING:
    pass


@app.command()
def table(
    number: Annotated[int, typer.Argument(metavar="N", help="Of the paper's table, 1 to 8.")],
    per_class: Annotated[
        bool, typer.Option("--per-class", help="Also the figures of single classes.")
    ] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="For a document.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Everything, for programs.")] = False,
    figure: Annotated[
        Path | None,
        typer.Option(
            "--figure",
            metavar="FILE.png",
            help="Table 7: draw figure 4, accuracy against speed.",
            show_default="none",
        ),
    ] = None,
    results: Annotated[
        Path, typer.Option("--results", metavar="DIR", help="Where our figures are.")
    ] = Path("results"),
    run: Annotated[
        bool, typer.Option("--run", help="First train and measure what is missing of the twins.")
    ] = False,
    full: Annotated[
        bool, typer.Option("--full", help="With --run: of the paper's rows, on the full data sets.")
    ] = False,
    only: Annotated[
        str | None,
        typer.Option(
            "--only", metavar="A,B,C", help="With --run: these experiments.", show_default="all"
        ),
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option(
            "--seeds", metavar="0,1", help="With --run.", show_default="the experiment's own"
        ),
    ] = None,
    max_minutes: Annotated[
        float | None,
        typer.Option("--max-minutes", min=0, help="With --run: stop in time.", show_default="none"),
    ] = None,
    device: DeviceOption = "auto",
    workers: Annotated[
        int, typer.Option("--workers", min=0, help="Processes that read pictures.")
    ] = 2,
) -> None:
    """Show a table of the paper, its figures beside ours.

    With --run it goes on with what an earlier one began; Ctrl-C and kills cost no finished step.
    """
    from blitznet.paper.catalogue import find_table
    from blitznet.paper.figure_4 import draw_figure_4
    from blitznet.paper.report import fill_in, notes_of, to_dict
    from blitznet.paper.results import Results
    from blitznet.paper.show import grid_of, markdown_table, terminal_table

    chosen = find_table(number)
    if run:
        require("lightning_fabric", "train", "training")
        from blitznet.paper.training_queue import (
            choose_experiments,
            missing_jobs,
            read_seeds,
            run_jobs,
        )

        names = [name.strip() for name in only.split(",")] if only else None
        wanted = choose_experiments(chosen, names, full)
        jobs = missing_jobs(wanted, Results(results), read_seeds(seeds))
        for (experiment, seed), finished in run_jobs(jobs, results, device, workers, max_minutes):
            state = "done" if finished else "not finished; the same command goes on with it"
            typer.echo(f"{experiment.name}, seed {seed}: {state}", err=True)
    found = Results(results)
    reports = fill_in(chosen, found, per_class or as_json)
    notes = notes_of(chosen, found)
    if figure is not None:
        draw_figure_4(chosen, found, figure)
    if as_json:
        typer.echo(json.dumps(to_dict(chosen, reports, notes), indent=2))
        return
    typer.echo(f"Table {number}: {chosen.caption}. Figures in per cent unless said.")
    for report in reports:
        grid = grid_of(report, per_class)
        typer.echo(f"\n{grid.title}\n")
        if markdown:
            typer.echo(markdown_table(grid))
        else:
            print_table(terminal_table(grid), least_width=130)
    typer.echo()
    for note in notes:
        typer.echo(f"- {note}")
