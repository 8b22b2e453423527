"""An experiment: what it takes to train one row of a table, and what the paper printed for it."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from blitznet.paper.figure import Figure
from blitznet.training.recipe import Recipe

DATA_FOLDER = Path("data")  # of a clone of the repository


@dataclass(frozen=True, eq=False)
class Experiment:
    """A row of a table that can be trained.

    Attributes:
        source: where the paper has it: "Table 1, row 5".
        recipe: how it is trained; its name is the experiment's.
        data: the data description, as data/NAME.yaml.
        paper: what the paper printed, per cent; empty for what it did not do.
        figures: what it is measured by.
        seeds: how often it is trained.
        is_twin: whether it repeats a row of the paper on the nine-class VOC subset.
    """

    source: str
    recipe: Recipe
    data: str
    paper: Mapping[Figure, float] = field(default_factory=dict)
    figures: tuple[Figure, ...] = ()
    seeds: tuple[int, ...] = (0,)
    is_twin: bool = False

    @property
    def name(self) -> str:
        """What `blitznet train` calls it."""
        return self.recipe.name

    @property
    def data_file(self) -> Path:
        """The data description, from the root of a clone."""
        return DATA_FOLDER / f"{self.data}.yaml"

    @property
    def splits(self) -> dict[str, tuple[str, ...] | None]:
        """Splits that it is measured on, with the classes to average over; None = all."""
        figures = self.figures or tuple(self.paper)
        return {figure.split: figure.classes for figure in figures if figure.keys}


def derive(recipe: Recipe, **changes: Any) -> Recipe:
    """The recipe with other values; `model` and `augmentation` may be given in part, as dicts."""
    values = dict(recipe)
    for key, change in changes.items():
        part = values[key]
        values[key] = type(part)(**dict(part) | change) if isinstance(change, dict) else change
    return Recipe(**values)
