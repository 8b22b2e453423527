"""What was measured: results/EXPERIMENT/seed-N, a folder behind every figure of ours in a table."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from statistics import fmean, stdev
from typing import Any

from blitznet.bench.record import SpeedRecord, SpeedRow, read_record
from blitznet.errors import InputError
from blitznet.paper.experiment import Experiment
from blitznet.paper.figure import BENCH, Figure
from blitznet.training.run_record import RUN_FILE

RESULTS_FOLDER = Path("results")
BENCH_FILE = "bench.json"
_TWINS = "subset"

# Of a recipe, what may differ between a result and the experiment as it is now.
_FREE = {"name", "seed", "model"}


@dataclass(frozen=True)
class Measured:
    """One figure over the seeds of an experiment.

    Attributes:
        values: one a seed.
        seeds: which; empty for what does not depend on training.
    """

    values: tuple[float, ...]
    seeds: tuple[int, ...] = ()

    @property
    def mean(self) -> float:
        """Over the seeds."""
        return fmean(self.values)

    @property
    def spread(self) -> float | None:
        """Sample standard deviation (n - 1) over the seeds; None with one seed."""
        return stdev(self.values) if len(self.values) > 1 else None


def seed_folder(root: Path, experiment: Experiment, seed: int) -> Path:
    """Where the results of an experiment with one seed are."""
    folder = root / _TWINS if experiment.is_twin else root
    return folder / experiment.name / f"seed-{seed}"


def split_file(folder: Path, split: str) -> Path:
    """The `metrics.json` of one split in such a folder."""
    return folder / f"{split}.json"


@dataclass
class Results:
    """The results in a folder.

    Attributes:
        root: the folder; need not exist.
        notes: why some result is not shown.
    """

    root: Path
    notes: list[str] = field(default_factory=list)
    _read: dict[str, dict[int, dict[str, Any]]] = field(default_factory=dict)

    def measured(self, experiment: Experiment, figure: Figure) -> Measured | None:
        """A figure of an experiment; None = not measured.

        Raises:
            InputError: if a file of results is damaged.
        """
        if figure.split == BENCH:
            value = figure.read(self._bench(experiment))
            return None if value is None else Measured((value,))
        values = {
            seed: figure.read(splits[figure.split])
            for seed, splits in self.seeds(experiment).items()
            if figure.split in splits
        }
        known = {seed: value for seed, value in values.items() if value is not None}
        return Measured(tuple(known.values()), tuple(known)) if known else None

    def seeds(self, experiment: Experiment) -> dict[int, dict[str, Any]]:
        """By seed, the `metrics.json` of every split that was measured."""
        if experiment.name not in self._read:
            self._read[experiment.name] = dict(self._read_seeds(experiment))
        return self._read[experiment.name]

    def speed_record(self) -> SpeedRecord | None:
        """What `blitznet bench` measured, if it was run."""
        path = self.root / BENCH_FILE
        return read_record(path) if path.is_file() else None

    def speed(self, experiment: Experiment) -> SpeedRow | None:
        """The fastest way to run its network on single pictures."""
        record = self.speed_record()
        return record.best(experiment.recipe.model.name, batch=1) if record else None

    def _bench(self, experiment: Experiment) -> dict[str, float | None]:
        row = self.speed(experiment)
        sizes = experiment.recipe.model.level_sizes
        return {"fps": row.fps if row else None, "anchors": sum(6 * size**2 for size in sizes)}

    def _read_seeds(self, experiment: Experiment) -> list[tuple[int, dict[str, Any]]]:
        parent = seed_folder(self.root, experiment, 0).parent
        found = []
        for folder in sorted(parent.glob("seed-*"), key=lambda path: (len(path.name), path.name)):
            number = folder.name.removeprefix("seed-")
            # Without the file, its measuring was broken off.
            if not number.isdecimal() or not (folder / RUN_FILE).is_file():
                continue
            difference = recipe_difference(read_json(folder / RUN_FILE), experiment)
            if difference is not None:
                self.notes.append(f"{folder} is not shown: {difference}")
                continue
            splits = {}
            for split, classes in experiment.splits.items():
                if split_file(folder, split).is_file():
                    splits[split] = read_json(split_file(folder, split))
                    _require_classes(splits[split], classes, split_file(folder, split))
            found.append((int(number), splits))
        return found


def read_json(path: Path) -> dict[str, Any]:
    """A JSON object.

    Raises:
        InputError: if the file holds none.
    """
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path} is damaged ({error}); remove its folder and run it anew"
        ) from None
    if not isinstance(content, dict):
        raise InputError(f"{path} is no JSON object; remove its folder and run it anew")
    return content


def recipe_difference(run: Mapping[str, Any], experiment: Experiment) -> str | None:
    """In what the recipe of a run differs from the experiment's, or None.

    Fields that one of them does not have are passed over: recipes gain fields in time.
    """
    wanted = experiment.recipe.model_dump(mode="json")
    came = run.get("recipe")
    if not isinstance(came, dict):
        return "it does not say its recipe"
    for key in sorted((wanted.keys() & came.keys()) - _FREE):
        if wanted[key] != came[key]:
            return f"it was trained with {key} {came[key]}, the experiment has {wanted[key]}"
    return None


def _require_classes(
    metrics: Mapping[str, Any], classes: tuple[str, ...] | None, path: Path
) -> None:
    if classes is not None and tuple(metrics.get("classes", ())) != classes:
        raise InputError(
            f"{path} averages other classes than {','.join(classes)}; remove its folder and run it "
            "anew"
        )
