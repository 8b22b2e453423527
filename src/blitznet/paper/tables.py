"""The paper's tables and the experiments behind their rows, from the YAML files in this folder."""

from collections.abc import Mapping
from functools import cache, cached_property
from importlib.resources import files
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic.dataclasses import dataclass

from blitznet.errors import InputError, RecipeError
from blitznet.files.text_files import parse_yaml

if TYPE_CHECKING:
    from blitznet.training.recipe import Recipe

BENCH = "bench"  # in place of a split: measured by `blitznet bench`
DATA_FOLDER = Path("data")  # in a clone of the repository

# Keys of a row in experiments.yaml that are not fields of its recipe.
_NO_RECIPE = ("source", "data", "columns", "seeds", "is_twin")


@dataclass(frozen=True)
class Column:
    """A column of a table.

    Attributes:
        title: text above the column.
        split: split of the data description that it is measured on, or BENCH.
        keys: path of its value in `metrics.json`; empty = we cannot measure it.
        classes: the averaged classes; None = all with ground truth.
        of_one_class: whether it is the figure of a single class.
        scale: factor of the value in `metrics.json`; 100 = a fraction, printed in per cent.
        decimals: number of decimals printed.
    """

    title: str
    split: str
    keys: tuple[str, ...] = ()
    classes: tuple[str, ...] | None = None
    of_one_class: bool = False
    scale: int | float = 100
    decimals: int = 1

    def read(self, metrics: Mapping[str, Any]) -> float | None:
        """The column's value in the content of a `metrics.json`, on the paper's scale, if any."""
        value: Any = metrics
        for key in self.keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        return self.scale * value if self.keys and value is not None else None


@dataclass(frozen=True, eq=False)
class Experiment:
    """How the network of a row is trained and measured.

    Attributes:
        name: name for `blitznet train`.
        source: place in the paper, such as "Table 1, row 5".
        data: name of the data description, data/NAME.yaml.
        changes: fields of its recipe, see `read_recipe`.
        columns: the columns that it is measured for.
        seeds: the seeds that it is trained with.
        is_twin: whether it repeats a row of the paper on the nine-class VOC subset.
    """

    name: str
    source: str
    data: str
    changes: dict[str, Any]
    columns: tuple[Column, ...] = ()
    seeds: tuple[int, ...] = (0,)
    is_twin: bool = False

    @cached_property
    def recipe(self) -> "Recipe":
        """The recipe, named after the experiment."""
        from blitznet.training.recipe import make_recipe

        return make_recipe({**self.changes, "name": self.name}, self.name)

    @property
    def data_file(self) -> Path:
        """Path of the data description, from the root of a clone."""
        return DATA_FOLDER / f"{self.data}.yaml"

    def require_data(self) -> Path:
        """Path of the data description, which must exist.

        Raises:
            RecipeError: if the file does not exist.
        """
        if not self.data_file.is_file():
            text = f"{self.name} is trained with {self.data_file}, which is not here"
            raise RecipeError(f"{text}; run it in a clone, or give --data DATA.yaml")
        return self.data_file

    @property
    def splits(self) -> dict[str, tuple[str, ...] | None]:
        """The splits that it is measured on, with the classes to average over; None = all."""
        return {column.split: column.classes for column in self.columns}


@dataclass(frozen=True, eq=False)
class TableRow:
    """A row: its labels, the paper's figures, and the experiment that gives ours, if any."""

    labels: tuple[str, ...]
    printed: dict[Column, int | float]
    experiment: Experiment | None


@dataclass(frozen=True, eq=False)
class Block:
    """Rows with the same columns; `labels` are the titles of the label columns."""

    title: str
    labels: tuple[str, ...]
    columns: tuple[Column, ...]
    rows: tuple[TableRow, ...]


@dataclass(frozen=True, eq=False)
class Table:
    """One of the paper's tables: the paper's block first, then our variants."""

    number: int
    caption: str
    blocks: tuple[Block, ...]
    notes: tuple[str, ...]

    @property
    def experiments(self) -> tuple[Experiment, ...]:
        """The experiments of all rows."""
        rows = (row for block in self.blocks for row in block.rows)
        return tuple(row.experiment for row in rows if row.experiment is not None)


@cache
def read_experiments() -> dict[str, Experiment]:
    """All experiments by name."""
    content, columns = _read("experiments"), _read_columns()
    found = {}
    for name, own in content["experiments"].items():
        base = content["bases"][own.pop("base")]
        changes = base | own | {"model": base["model"] | own.get("model", {})}
        given = {key: changes.pop(key) for key in _NO_RECIPE if key in changes}
        given["columns"] = tuple(columns[key][0] for key in given.get("columns", ()))
        found[name] = Experiment(name=name, changes=changes, **given)
    return found


@cache
def read_tables() -> dict[int, Table]:
    """The paper's tables by number, 1 to 8."""
    return {
        number: Table(number, table["caption"], tuple(map(_block, table["blocks"])), table["notes"])
        for number, table in _read("tables")["tables"].items()
    }


def find_table(number: int) -> Table:
    """Find a table of the paper.

    Raises:
        InputError: if the paper has no such table.
    """
    tables = read_tables()
    if number not in tables:
        raise InputError(f"the paper has no table {number}; give a number from 1 to {len(tables)}")
    return tables[number]


def find_recipe(name_or_path: str, overrides: tuple[str, ...] = ()) -> "Recipe":
    """Find the recipe of an experiment, a named one or a file; `overrides`: see `read_recipe`.

    Raises:
        InputError: if there is no such recipe.
    """
    from blitznet.training.recipe import change_recipe, read_recipe

    experiment = read_experiments().get(name_or_path)
    if experiment is None:
        return read_recipe(name_or_path, overrides)
    return change_recipe(experiment.recipe, overrides)


def _read(name: str) -> Any:
    return parse_yaml(files(__package__).joinpath(f"{name}.yaml").read_text(encoding="utf-8"))


@cache
def _read_columns() -> dict[str, tuple[Column, ...]]:
    """The columns by key; a key with `each_of` gives one column per class."""
    columns: dict[str, tuple[Column, ...]] = {}
    for key, values in _read("tables")["columns"].items():
        classes, keys = values.pop("each_of", None), tuple(values.pop("keys", ()))
        columns[key] = (
            (Column(keys=keys, **values),)
            if classes is None
            else tuple(
                Column(name, keys=keys and (*keys, name), of_one_class=True, **values)
                for name in classes
            )
        )
    return columns


def _block(content: dict[str, Any]) -> Block:
    columns = tuple(column for key in content["columns"] for column in _read_columns()[key])
    rows = []
    for row in content["rows"]:
        figures = zip(columns, str(row.get("printed", "")).split(), strict=False)
        printed = {column: parse_yaml(text) for column, text in figures if text != "-"}
        experiment = read_experiments()[row["experiment"]] if "experiment" in row else None
        rows.append(TableRow(row["labels"], printed, experiment))
    return Block("; ".join(content["title"]), content["labels"], columns, tuple(rows))
