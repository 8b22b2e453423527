"""blitznet check-data."""

import json
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from blitznet.cli import options
from blitznet.cli.app import app, print_line, print_table
from blitznet.extras import require
from blitznet.files.result_folder import make_folder, require_usable

if TYPE_CHECKING:
    from blitznet.data.check.check_report import CheckReport


@app.command()
def check_data(
    data: Path = typer.Argument(metavar="DATA.yaml", help="Data description."),
    splits: list[str] | None = typer.Option(
        None,
        "--split",
        metavar="NAME",
        help="Check only this split; repeatable.",
        show_default="all",
    ),
    model: str = typer.Option(
        "blitznet300-mobile",
        "--model",
        "-m",
        metavar="NAME",
        help="Network whose anchors the boxes should match.",
    ),
    workers: int | None = typer.Option(
        None, min=0, help="Worker processes.", show_default="number of cores"
    ),
    as_json: bool = typer.Option(False, "--json", help="Print the whole report as JSON."),
    verbose: bool = typer.Option(False, "--verbose", "-v", help="List all warnings."),
    out: Path | None = typer.Option(
        None,
        "--out",
        "-o",
        metavar="DIR",
        help="Folder for a sheet of samples, plots and report.json; must be empty or new.",
    ),
    overwrite: bool = options.OVERWRITE,
) -> None:
    """Validate images and labels before training.

    Exits with 1 if there is an error; warnings do not count.
    """
    require("torch", "train", "blitznet check-data")
    from blitznet.cpu import usable_cores
    from blitznet.data.description import read_description
    from blitznet.model_info import find_model

    description, config = read_description(data), find_model(model)
    for split in splits or ():
        description.entries(split)
    require_usable(out, overwrite)
    from blitznet.data.check.check import check_data as check

    if out is not None:
        from blitznet.data.check.plots import write_folder

        require("matplotlib", "plots", "plots of statistics")
        make_folder(out, out, overwrite)
    workers = usable_cores() if workers is None else workers
    report = check(description, data, splits, config, workers)
    if out is not None:
        write_folder(out, report, config)
    if as_json:
        typer.echo(json.dumps(report.to_dict(), indent=2))
    else:
        _print(report, verbose)
        if out is not None:
            print_line(f"Contact sheet and statistics: {out}")
    if report.errors:
        raise typer.Exit(1)


def _print(report: "CheckReport", verbose: bool) -> None:
    from blitznet.data.check.check_report import findings_table, report_lines, splits_table

    if report.sources:
        print_table(splits_table(report))
        if report.findings:
            print_table(findings_table(report))
    for line in report_lines(report, verbose):
        print_line(line)
