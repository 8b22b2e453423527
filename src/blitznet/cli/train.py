"""blitznet train."""

import collections
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from blitznet.cli.app import app, complain, print_table
from blitznet.errors import InputError
from blitznet.extras import require

if TYPE_CHECKING:
    pass


@app.command()
def train(
    recipe: Annotated[
        str | None,
        typer.Argument(
            metavar="RECIPE",
            help="Named recipe, YAML file, or experiment; see docs/training.md, experiments.md.",
            show_default="modern",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="DATA.yaml",
            help="Data description.",
            show_default="an experiment's own",
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe, as --set steps=1000."),
    ] = None,
    resume: Annotated[
        Path | None, typer.Option("--resume", metavar="RUN", help="Go on with the run in a folder.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="DIR",
            help="Folder of the run; must be empty or new.",
            show_default="runs/train/RECIPE, or the next free one",
        ),
    ] = None,
    max_minutes: Annotated[
        float | None,
        typer.Option("--max-minutes", min=0, help="Stop in time, resumable.", show_default="none"),
    ] = None,
    validate_every: Annotated[
        int | None,
        typer.Option(
            "--validate-every",
            metavar="STEPS",
            min=0,
            help="Measure on the val split while training; 0 = only at the end.",
            show_default="ten times a run",
        ),
    ] = None,
    early_stopping: Annotated[
        int | None,
        typer.Option(
            "--early-stopping",
            metavar="N",
            min=1,
            help="Stop after N validations without a gain, and take the best.",
            show_default="off",
        ),
    ] = None,
    devices: Annotated[int, typer.Option("--devices", min=1, help="GPUs or processes.")] = 1,
    device: Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")] = "auto",
    workers: Annotated[
        int, typer.Option("--workers", min=0, help="Processes that read pictures, a device.")
    ] = 2,
    input_mode: Annotated[
        Literal["workers", "device"],
        typer.Option("--input", help="Read pictures as needed, or hold them all decoded."),
    ] = "workers",
    compiled: Annotated[
        bool,
        typer.Option("--compile", help="Compile the network: faster steps, after minutes."),
    ] = False,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out pictures with errors, and list them.")
    ] = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Write RUN/tensorboard, its figures as curves.")
    ] = False,
) -> None:
    """Train a network on pictures with boxes, maps, or both; --resume RUN goes on with one."""
    if resume is None and recipe is None and data is None:
        raise typer.BadParameter("give --data DATA.yaml, or --resume RUN")
    if resume is not None and (recipe or data or settings or out or skip_bad):
        raise typer.BadParameter("--resume RUN takes recipe and data from the run; give it alone")

    require("lightning_fabric", "train", "training")
    if tensorboard:
        require("tensorboard", "tensorboard", "--tensorboard")
    from blitznet.data.check.skipped import skipped_lines
    from blitznet.device import choose_device
    from blitznet.evaluation.metrics_table import metrics_table
    from blitznet.evaluation.report.review import Review
    from blitznet.evaluation.report.write import REPORT_FOLDER, write_report
    from blitznet.model_files import read_info
    from blitznet.paper.tables import find_training, read_experiments
    from blitznet.training.loop import MODEL_FILE
    from blitznet.training.options import LoopOptions
    from blitznet.training.precision import usable_precision
    from blitznet.training.recipe import DEFAULT_RECIPE
    from blitznet.training.run import (
        early_stop,
        is_first_process,
        resume_training,
        start_training,
        validate_run,
    )
    from blitznet.training.show import show_training
    from blitznet.training.tensorboard import add_validations, with_tensorboard

    torch_device = choose_device(device)
    options = LoopOptions(
        devices,
        torch_device.type,
        workers,
        max_minutes,
        validate_every,
        early_stopping,
        input_mode,
        compiled,
    )
    if resume is not None:
        folder, total, rows = resume_training(resume, options)
    else:
        recipe = recipe or DEFAULT_RECIPE
        if data is None and recipe not in read_experiments():
            raise typer.BadParameter(
                "give --data DATA.yaml; only the experiments of `blitznet table` have their own"
            )
        chosen, described = find_training(recipe, data, tuple(settings or ()))
        is_emulated = usable_precision(chosen.precision, torch_device) != chosen.precision
        if is_emulated and is_first_process():
            complain("this processor would emulate bfloat16; the steps are taken in fp32")
        folder, total, rows = start_training(chosen, described, out, options, skip_bad)
        for line in skipped_lines(folder) if is_first_process() else ():
            typer.echo(f"left out: {line}")
    if not is_first_process():
        collections.deque(rows, maxlen=0)
        return
    if tensorboard:
        rows = with_tensorboard(rows, folder)
    last_step = show_training(rows, total, folder)
    if not (folder / MODEL_FILE).is_file():
        typer.echo(f"Stopped at step {last_step} of {total}; blitznet train --resume {folder}")
        return
    if (stop := early_stop(folder)) is not None:
        typer.echo(stop)
    review = Review(read_info(folder / MODEL_FILE).names)
    metrics = validate_run(folder, device, review)
    if tensorboard:
        add_validations(folder)
    if metrics is not None:
        print_table(metrics_table(metrics))
        try:
            page = write_report(folder / REPORT_FOLDER, review, metrics, folder)
            typer.echo(f"Curves, confusions, best and worst pictures: {page}")
        except InputError as error:  # the network is there all the same
            typer.echo(f"No report: {error}")
    typer.echo(f"The trained network is in {folder}")
