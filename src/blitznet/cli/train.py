"""blitznet train."""

import os
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from blitznet.cli import options
from blitznet.cli.app import app, print_line, print_table
from blitznet.device import device_kind
from blitznet.extras import require

if TYPE_CHECKING:
    from blitznet.training.recipe import Recipe

# Environment variables that launchers set for the processes of a run.
RANKS = ("RANK", "LOCAL_RANK", "SLURM_PROCID")


@app.command()
def train(
    recipe: str | None = typer.Argument(
        None,
        metavar="RECIPE",
        help="Named recipe, YAML file, or experiment; see docs/training.md, experiments.md.",
        show_default="modern",
    ),
    data: Path | None = typer.Option(
        None, metavar="DATA.yaml", help="Data description.", show_default="an experiment's own"
    ),
    settings: list[str] | None = typer.Option(
        None, "--set", metavar="KEY=VALUE", help="Change a field of the recipe; repeatable."
    ),
    epochs: float | None = typer.Option(
        None, metavar="N", min=0, help="Number of epochs.", show_default="the recipe's steps"
    ),
    steps: int | None = typer.Option(
        None, metavar="N", min=0, help="Number of steps.", show_default="the recipe's"
    ),
    batch: int | None = typer.Option(
        None, metavar="N", help="Set global_batch_size to N.", show_default="the recipe's"
    ),
    imgsz: int | None = typer.Option(
        None, metavar="N", help="Set model.image_size to N.", show_default="the recipe's"
    ),
    resume: Path | None = typer.Option(None, metavar="RUN", help="Resume the run in this folder."),
    out: Path | None = typer.Option(
        None,
        "--out",
        "-o",
        metavar="DIR",
        help="Folder of the run; must be empty or new.",
        show_default="runs/train/RECIPE, or the next free one",
    ),
    max_minutes: float | None = typer.Option(None, min=0, help="Stop after N minutes; resumable."),
    validate_every: int | None = typer.Option(
        None,
        metavar="STEPS",
        min=0,
        help="Steps between validations; 0 = only at the end.",
        show_default="a tenth of the run, at least 20",
    ),
    early_stopping: int | None = typer.Option(
        None, metavar="N", min=1, help="Stop after N validations without improvement."
    ),
    devices: int = typer.Option(1, min=1, help="GPUs or processes."),
    device: str = typer.Option("auto", help="auto, cpu or cuda."),
    workers: int = typer.Option(2, min=0, help="Data-loading processes per device."),
    compiled: bool = typer.Option(
        False, "--compile", help="Compile the network with torch.compile."
    ),
    skip_bad: bool = typer.Option(
        False, "--skip-bad", help="Skip images with errors, and list them."
    ),
    tensorboard: bool = typer.Option(
        False, "--tensorboard", help="Also write TensorBoard event files."
    ),
    quiet: bool = options.QUIET,
) -> None:
    """Train a network on images with boxes, segmentation maps, or both; --resume RUN continues."""
    if steps is not None and epochs is not None:
        raise typer.BadParameter("give --steps N or --epochs N, not both")
    short = {"steps": steps, "global_batch_size": batch, "model.image_size": imgsz}
    overrides = [f"{field}={value}" for field, value in short.items() if value is not None]
    overrides = [*(settings or ()), *overrides]
    if resume is None and not (recipe or data):
        raise typer.BadParameter("give --data DATA.yaml, or --resume RUN")
    others = (recipe, data, overrides, out, skip_bad, epochs is not None)
    if resume is not None and any(others):
        raise typer.BadParameter("--resume RUN takes recipe and data from the run; give it alone")
    require("lightning_fabric", "train", "training")
    if device != "auto":
        device_kind(device)
    chosen, data = _find_start(resume, recipe, data, overrides, out)
    from blitznet.evaluation.metrics import metrics_table
    from blitznet.training import train as training

    run = training.train(
        data, chosen, out=out, resume=resume, device=device, devices=devices, workers=workers,
        max_minutes=max_minutes, validate_every=validate_every, early_stopping=early_stopping,
        compile=compiled, skip_bad=skip_bad, tensorboard=tensorboard, epochs=epochs,
        on_message=None if quiet else print_line,
    )  # fmt: skip
    if run.metrics is not None and not quiet:
        print_table(metrics_table(run.metrics))


def _find_start(
    resume: Path | None, name: str | None, data: Path | None, overrides: list[str], out: Path | None
) -> "tuple[str | Recipe, Path | None]":
    """Find recipe and data of the run, and mistakes in them before loading anything heavy."""
    from blitznet.data.description import read_description
    from blitznet.model_files import find_checkpoint
    from blitznet.paper.tables import find_recipe, read_experiments
    from blitznet.training.recipe import DEFAULT_RECIPE
    from blitznet.training.run_record import read_run, require_new

    name = name or DEFAULT_RECIPE
    if resume is not None:
        read_description(read_run(resume)[1])
        return DEFAULT_RECIPE, None
    if data is None and name not in read_experiments():
        find_recipe(name)  # it may be the data description
        raise typer.BadParameter(
            "give --data DATA.yaml; only the experiments of `blitznet table` have their own"
        )
    recipe = find_recipe(name, tuple(overrides))
    data = data or read_experiments()[name].require_data()
    for start in filter(None, (recipe.start_from, *recipe.teachers)):
        find_checkpoint(start)
    read_description(data).entries("train")
    if not any(rank in os.environ for rank in RANKS):  # rank 0 may have filled it
        require_new(out)
    return recipe, data
