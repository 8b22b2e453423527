"""blitznet train."""

from pathlib import Path
from typing import Annotated

import typer

from blitznet.cli.app import app, print_line, print_table
from blitznet.extras import require


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
            metavar="DATA.yaml", help="Data description.", show_default="an experiment's own"
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option(
            "--set", metavar="KEY=VALUE", help="Change a field of the recipe; repeatable."
        ),
    ] = None,
    resume: Annotated[
        Path | None, typer.Option(metavar="RUN", help="Resume the run in this folder.")
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
        float | None, typer.Option(min=0, help="Stop after N minutes; resumable.")
    ] = None,
    validate_every: Annotated[
        int | None,
        typer.Option(
            metavar="STEPS",
            min=0,
            help="Steps between validations; 0 = only at the end.",
            show_default="ten times a run",
        ),
    ] = None,
    early_stopping: Annotated[
        int | None,
        typer.Option(metavar="N", min=1, help="Stop after N validations without improvement."),
    ] = None,
    devices: Annotated[int, typer.Option(min=1, help="GPUs or processes.")] = 1,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda.")] = "auto",
    workers: Annotated[int, typer.Option(min=0, help="Data-loading processes per device.")] = 2,
    compiled: Annotated[
        bool, typer.Option("--compile", help="Compile the network with torch.compile.")
    ] = False,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Skip images with errors, and list them.")
    ] = False,
    tensorboard: Annotated[
        bool, typer.Option("--tensorboard", help="Also write TensorBoard event files.")
    ] = False,
) -> None:
    """Train a network on images with boxes, segmentation maps, or both; --resume RUN continues."""
    _require_usage(resume, recipe or data, settings or out or skip_bad)
    require("lightning_fabric", "train", "training")
    from blitznet.evaluation.metrics import metrics_table
    from blitznet.paper.tables import find_training, read_experiments
    from blitznet.training import train as training
    from blitznet.training.recipe import DEFAULT_RECIPE, Recipe

    chosen: str | Recipe = recipe or DEFAULT_RECIPE
    if resume is None:
        if data is None and chosen not in read_experiments():
            raise typer.BadParameter(
                "give --data DATA.yaml; only the experiments of `blitznet table` have their own"
            )
        chosen, data = find_training(recipe or DEFAULT_RECIPE, data, tuple(settings or ()))
    run = training.train(
        data, chosen, out=out, resume=resume, device=device, devices=devices, workers=workers,
        max_minutes=max_minutes, validate_every=validate_every, early_stopping=early_stopping,
        compile=compiled, skip_bad=skip_bad, tensorboard=tensorboard, on_message=print_line,
    )  # fmt: skip
    if run.metrics is not None:
        print_table(metrics_table(run.metrics))


def _require_usage(resume: Path | None, start: object, others: object) -> None:
    """Raise typer.BadParameter unless a run is either started or resumed."""
    if resume is None and not start:
        raise typer.BadParameter("give --data DATA.yaml, or --resume RUN")
    if resume is not None and (start or others):
        raise typer.BadParameter("--resume RUN takes recipe and data from the run; give it alone")
