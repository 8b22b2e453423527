"""Train what a table lacks, one experiment and seed after the other, and keep what was measured."""

import shutil
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from blitznet.errors import InputError
from blitznet.evaluation.evaluate import evaluate
from blitznet.model_files import read_info
from blitznet.paper.experiment import Experiment
from blitznet.paper.paper_table import PaperTable
from blitznet.paper.results import (
    Results,
    read_json,
    recipe_difference,
    seed_folder,
    split_file,
)
from blitznet.text_files import write_json
from blitznet.training.log import LOG_FILE
from blitznet.training.loop import MODEL_FILE
from blitznet.training.run_record import RUN_FILE
from blitznet.training.train import train

RUNS_FOLDER = Path("runs/table")

Job = tuple[Experiment, int]  # and its seed


def missing_jobs(
    experiments: Sequence[Experiment], results: Results, seeds: Sequence[int] | None = None
) -> list[Job]:
    """What has not been measured yet: first all experiments with their first seed.

    Args:
        experiments: wanted.
        results: what there is.
        seeds: of each; None = the experiment's own.
    """
    jobs = [
        (place, experiment, seed)
        for experiment in experiments
        for place, seed in enumerate(seeds if seeds is not None else experiment.seeds)
        if results.seeds(experiment).get(seed, {}).keys() != experiment.splits.keys()
    ]
    return [(experiment, seed) for _, experiment, seed in sorted(jobs, key=lambda job: job[0])]


def run_jobs(
    jobs: Sequence[Job],
    root: Path,
    device: str = "auto",
    workers: int = 2,
    max_minutes: float | None = None,
    runs: Path = RUNS_FOLDER,
) -> Iterator[tuple[Job, bool]]:
    """Carry them out; what was broken off goes on where it stood.

    Args:
        jobs: what to do.
        root: folder of the results.
        device: as `blitznet train` takes it.
        workers: processes that prepare pictures.
        max_minutes: for all together; None = no limit.
        runs: where the networks are kept.

    Yields:
        A job, and whether it is finished: if not, the time was over.

    Raises:
        InputError: if an experiment cannot be trained: its data is not there, say.
    """
    started = time.monotonic()
    for job in jobs:
        left = None
        if max_minutes is not None:
            left = max(0.0, max_minutes - (time.monotonic() - started) / 60)
        finished = run_job(job, root, runs, device, workers, left)
        yield job, finished
        if not finished:
            return


def run_job(
    job: Job, root: Path, runs: Path, device: str, workers: int, max_minutes: float | None
) -> bool:
    """Train one experiment with one seed, measure it, write its results.

    Returns:
        Whether it is finished.
    """
    experiment, seed = job
    run = runs / experiment.name / f"seed-{seed}"
    if (run / RUN_FILE).is_file():
        difference = recipe_difference(read_json(run / RUN_FILE), experiment)
        if difference is not None:
            raise InputError(f"{run} is another run: {difference}; remove it, or move it away")
    if not (run / MODEL_FILE).is_file():
        options = {"device": device, "workers": workers, "max_minutes": max_minutes}
        if not _train(experiment, seed, run, **options):
            return False
    folder = seed_folder(root, experiment, seed)
    for split, classes in experiment.splits.items():
        metrics = evaluate(
            run / MODEL_FILE,
            experiment.data_file,
            split,
            device=device,
            classes=classes,
            workers=workers,
        )
        folder.mkdir(parents=True, exist_ok=True)
        write_json(split_file(folder, split), metrics.to_dict())
    shutil.copyfile(run / LOG_FILE, folder / LOG_FILE)
    # Last: with it the folder counts as complete.
    write_json(folder / RUN_FILE, _describe(experiment, seed, run))
    return True


def _train(experiment: Experiment, seed: int, run: Path, **options: Any) -> bool:
    if (run / RUN_FILE).is_file():
        return train(resume=run, validate_every=0, tell=print, **options).is_finished
    if not experiment.data_file.is_file():
        raise InputError(
            f"{experiment.name} is trained with {experiment.data_file}, which is not here; "
            "run it in a clone of the repository"
        )
    recipe = experiment.recipe.model_copy(update={"seed": seed})
    done = train(experiment.data_file, recipe, out=run, validate_every=0, tell=print, **options)
    return done.is_finished


def _describe(experiment: Experiment, seed: int, run: Path) -> dict[str, Any]:
    """What there is to say of a result: without paths that mean nothing elsewhere."""
    content = read_json(run / RUN_FILE)
    return {
        "experiment": experiment.name,
        "source": experiment.source,
        "seed": seed,
        **content,
        "data": str(experiment.data_file),
        "command": ["blitznet", *sys.argv[1:]],
        "training": read_info(run / MODEL_FILE).training,
    }


def choose_experiments(
    table: PaperTable, names: Sequence[str] | None, full: bool
) -> list[Experiment]:
    """Experiments of a table that can be measured.

    Args:
        table: of the paper.
        names: of those wanted; None = all twins, or all of the paper's own.
        full: whether the paper's own are meant.

    Raises:
        InputError: for a name that the table does not have, or if there is nothing to run.
    """
    by_name = {one.name: one for block in table.blocks for one in block.experiments if one.splits}
    if names is None:
        chosen = [one for one in by_name.values() if one.is_twin != full]
        if not chosen:
            raise InputError(
                f"table {table.number} has no twin on the subset; add --full for the paper's rows"
                if by_name and not full
                else f"table {table.number} has nothing that can be measured here"
            )
        return chosen
    unknown = [name for name in names if name not in by_name]
    if unknown:
        raise InputError(
            f"table {table.number} has no experiment {unknown[0]!r} to run; it has "
            f"{', '.join(by_name) or 'none'}"
        )
    return [by_name[name] for name in names]


def read_seeds(text: str | None) -> list[int] | None:
    """Seeds as the command line takes them, "0,1,2".

    Raises:
        InputError: if they are something else.
    """
    if text is None:
        return None
    parts = [part.strip() for part in text.split(",")]
    if not all(part.isdecimal() for part in parts):
        raise InputError(f"--seeds {text}: give whole numbers from 0 on, for example --seeds 0,1,2")
    return [int(part) for part in parts]
