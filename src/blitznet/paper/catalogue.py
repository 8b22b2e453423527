"""All tables by number, all experiments by name."""

from pathlib import Path

from blitznet.errors import InputError, RecipeError
from blitznet.paper.experiment import Experiment
from blitznet.paper.paper_table import PaperTable
from blitznet.paper.table_1 import TABLE_1
from blitznet.paper.table_2 import TABLE_2
from blitznet.paper.table_3 import TABLE_3
from blitznet.paper.table_4 import TABLE_4
from blitznet.paper.table_5 import TABLE_5
from blitznet.paper.table_6 import TABLE_6
from blitznet.paper.table_7 import TABLE_7
from blitznet.paper.table_8 import TABLE_8
from blitznet.training.recipe import Recipe, change_recipe, read_recipe

TABLES: dict[int, PaperTable] = {
    table.number: table
    for table in (TABLE_1, TABLE_2, TABLE_3, TABLE_4, TABLE_5, TABLE_6, TABLE_7, TABLE_8)
}

EXPERIMENTS: dict[str, Experiment] = {
    experiment.name: experiment
    for table in TABLES.values()
    for block in table.blocks
    for experiment in block.experiments
}


def find_table(number: int) -> PaperTable:
    """A table of the paper.

    Raises:
        InputError: if there is none of this number.
    """
    if number not in TABLES:
        raise InputError(f"the paper has no table {number}; give a number from 1 to {len(TABLES)}")
    return TABLES[number]


def find_training(
    name_or_path: str, data: Path | None, overrides: tuple[str, ...] = ()
) -> tuple[Recipe, Path]:
    """What `blitznet train` is to do: an experiment, or a recipe and a data description.

    Args:
        name_or_path: an experiment, a named recipe, or a recipe's file.
        data: the data description; None = the experiment's own, a recipe has none.
        overrides: of the recipe, see `read_recipe`.

    Raises:
        InputError: if there is no such recipe, or the experiment's data description is not here.
    """
    experiment = EXPERIMENTS.get(name_or_path)
    if experiment is None:
        assert data is not None
        return read_recipe(name_or_path, overrides), data
    if data is None and not experiment.data_file.is_file():
        raise RecipeError(
            f"{experiment.name} is trained with {experiment.data_file}, which is not here; run it "
            "in a clone of the repository, or give --data DATA.yaml"
        )
    return change_recipe(experiment.recipe, overrides), data or experiment.data_file
