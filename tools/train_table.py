"""Train the missing experiments of a table, one seed after another, and keep their metrics.

python tools/train_table.py 3
python tools/train_table.py 1 --full --only voc07-blitznet300-s4-seg --seeds 0,1
"""

import shutil
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from blitznet.cli.options import DEVICE, split_names
from blitznet.errors import InputError
from blitznet.evaluation.evaluate import evaluate
from blitznet.files.text_files import read_json, write_json
from blitznet.model_files import read_info
from blitznet.paper.table_report import RUN_FILE, read_results, recipe_difference, seed_folder
from blitznet.paper.tables import Experiment, Table, find_table
from blitznet.training.log import LOG_FILE
from blitznet.training.loop import MODEL_FILE
from blitznet.training.train import train
from blitznet.training.validation import VALIDATION_FILE

RUNS_FOLDER = Path("runs/table")  # folder of the runs

Job = tuple[Experiment, int]  # experiment and seed


def train_table(
    number: Annotated[int, typer.Argument(metavar="N", help="Number of the table, 1 to 8.")],
    full: Annotated[
        bool, typer.Option("--full", help="The paper's rows, on the full datasets.")
    ] = False,
    only: Annotated[
        str | None, typer.Option(metavar="A,B,C", help="These experiments.", show_default="all")
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option(metavar="0,1", help="These seeds.", show_default="the experiment's own"),
    ] = None,
    max_minutes: Annotated[
        float | None, typer.Option(min=0, help="Stop after N minutes; resumable.")
    ] = None,
    results: Annotated[Path, typer.Option(metavar="DIR", help="Folder of our results.")] = Path(
        "results"
    ),
    device: str = DEVICE,
    workers: Annotated[int, typer.Option(min=0, help="Data-loading processes.")] = 2,
) -> None:
    """Train and measure missing rows; continues where an earlier call stopped or was killed."""
    experiments = choose_experiments(find_table(number), split_names(only), full)
    chosen = None if seeds is None else [int(seed) for seed in seeds.split(",")]
    train_missing(experiments, results, chosen, device, workers, max_minutes)


def train_missing(
    experiments: Sequence[Experiment],
    root: Path,
    seeds: Sequence[int] | None = None,
    device: str = "auto",
    workers: int = 2,
    max_minutes: float | None = None,
) -> bool:
    """Train and measure missing experiments, and continue interrupted ones.

    Args:
        experiments: result of `choose_experiments`.
        root: folder of the results.
        seeds: seeds of each experiment; None = its own.
        device: same as for `blitznet train`.
        workers: processes that read images.
        max_minutes: time limit for all together; None = no limit.

    Returns:
        True if all are complete; False if time ran out.

    Raises:
        InputError: if an experiment cannot be trained, for example because its data is missing.
    """
    end = None if max_minutes is None else time.monotonic() + 60 * max_minutes
    where = {"device": device, "workers": workers}
    for experiment, seed in missing_jobs(experiments, root, seeds):
        run, name = (
            RUNS_FOLDER / experiment.name / f"seed-{seed}",
            f"{experiment.name}, seed {seed}",
        )
        left = None if end is None else max(0.0, (end - time.monotonic()) / 60)
        if not _train(experiment, seed, run, max_minutes=left, on_message=typer.echo, **where):
            typer.echo(f"{name}: not finished; the same command continues it")
            return False
        _measure(experiment, seed, run, root, **where)
        typer.echo(f"{name}: done")
    return True


def choose_experiments(
    table: Table, names: Sequence[str] | None = None, full: bool = False
) -> list[Experiment]:
    """The named experiments of a table, or all twins that can be measured.

    With `full`, the paper's own experiments instead of the twins.

    Raises:
        InputError: if the table has no experiment of that name, or nothing to run.
    """
    by_name = {one.name: one for one in table.experiments if one.splits}
    if names is None:
        chosen = [one for one in by_name.values() if one.is_twin != full]
        if not chosen:
            text = "nothing that can be measured here"
            if by_name and not full:
                text = "no small version; add --full for the paper's rows"
            raise InputError(f"table {table.number} has {text}")
        return chosen
    unknown = [name for name in names if name not in by_name]
    if unknown:
        text = f"table {table.number} has no experiment {unknown[0]!r} to run"
        raise InputError(f"{text}; it has {', '.join(by_name) or 'none'}")
    return [by_name[name] for name in names]


def missing_jobs(
    experiments: Sequence[Experiment], root: Path, seeds: Sequence[int] | None = None
) -> list[Job]:
    """The experiments and seeds not measured yet; the first seed of all experiments comes first."""
    jobs = []
    for experiment in experiments:
        results, _ = read_results(root, experiment)
        done = {seed for seed, one in results.items() if one.keys() == experiment.splits.keys()}
        wanted = enumerate(experiment.seeds if seeds is None else seeds)
        jobs += [(place, experiment, seed) for place, seed in wanted if seed not in done]
    return [(experiment, seed) for _, experiment, seed in sorted(jobs, key=lambda job: job[0])]


def _train(experiment: Experiment, seed: int, run: Path, **options: Any) -> bool:
    """Start or continue the training in the folder `run`; return whether it is finished."""
    if has_begun := (run / RUN_FILE).is_file():
        difference = recipe_difference(read_json(run / RUN_FILE), experiment)
        if difference is not None:
            raise InputError(f"{run} is another run: {difference}; remove it, or move it away")
    if (run / MODEL_FILE).is_file():
        return True
    recipe = experiment.recipe.model_copy(update={"seed": seed})
    # Twins are validated during training, to show whether they were trained long enough.
    every = max(1, recipe.steps // 5) if experiment.is_twin else 0
    if has_begun:
        return train(resume=run, validate_every=every, **options).is_finished
    data = experiment.require_data()
    return train(data, recipe, out=run, validate_every=every, **options).is_finished


def _measure(experiment: Experiment, seed: int, run: Path, root: Path, **where: Any) -> None:
    """Measure the network in the folder `run`, and write its metrics and record."""
    folder, data = seed_folder(root, experiment, seed), experiment.require_data()
    folder.mkdir(parents=True, exist_ok=True)
    model = run / MODEL_FILE
    for split, classes in experiment.splits.items():
        metrics = evaluate(model, data, split, classes=classes, **where)
        write_json(folder / f"{split}.json", metrics.to_dict())
    for file in (LOG_FILE, VALIDATION_FILE):
        if (run / file).is_file():
            shutil.copyfile(run / file, folder / file)
    # Written last, because it marks the folder as complete; without this machine's paths.
    description = {
        "experiment": experiment.name,
        "source": experiment.source,
        "seed": seed,
        **read_json(run / RUN_FILE),
        "data": str(data),
        "command": ["python", *sys.argv],
        "training": read_info(model).training,
    }
    write_json(folder / RUN_FILE, description)


if __name__ == "__main__":
    typer.run(train_table)
