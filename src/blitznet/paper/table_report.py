"""A table of the paper beside our results: results/EXPERIMENT/seed-N/SPLIT.json and bench.json."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean, stdev
from typing import Any, NamedTuple

from rich.table import Table as RichTable

from blitznet.errors import InputError, count_of
from blitznet.files.text_files import read_json
from blitznet.paper.tables import BENCH, Block, Column, Experiment, Table, TableRow

RUN_FILE = "run.json"  # record of a run; written last in a folder of results
BENCH_FILE = "bench.json"  # written by `blitznet bench --json` or benchmarks/race.py
NOT_RUN = "-"

# Fields of a recipe that may differ from the experiment's. Those of the model depend on the data
# and on the starting weights of the backbone.
_FREE = {
    "name", "seed",
    *(f"model.{key}" for key in ("num_classes", "background_rows", "pad_same", "mean", "std")),
}  # fmt: skip

Results = dict[int, dict[str, dict[str, Any]]]  # `metrics.json` by seed and split


class Measured(NamedTuple):
    """Our figure, with one value per seed; `seeds` is empty if it does not depend on training."""

    values: tuple[float, ...]
    seeds: tuple[int, ...] = ()

    @property
    def spread(self) -> float | None:
        """Sample standard deviation (n - 1) over the seeds; None with one seed."""
        return stdev(self.values) if len(self.values) > 1 else None


@dataclass(frozen=True)
class TableReport:
    """A table of the paper with our results.

    Attributes:
        table: the paper's table.
        ours: our figures by name of the experiment and column.
        notes: notes of the table, and reasons why some results are not shown.
        device: device on which our speeds were measured; empty without speeds.
    """

    table: Table
    ours: Mapping[tuple[str, Column], Measured]
    notes: tuple[str, ...]
    device: str

    def measured(self, row: TableRow, column: Column) -> Measured | None:
        """Our figure; None if not run, or not one of our experiments."""
        return self.ours.get((row.experiment.name, column)) if row.experiment else None


class Grid(NamedTuple):
    """A block as text; the first `num_labels` columns are labels."""

    title: str
    header: list[str]
    rows: list[list[str]]
    num_labels: int


def fill_in(table: Table, root: Path) -> TableReport:
    """Fill a table with our results from `root`, which need not exist.

    Raises:
        InputError: if a file of results is damaged.
    """
    notes, ours = list(table.notes), {}
    if not root.is_dir():
        notes.append(f"{root} does not exist, so ours are missing; a clone has our results")
    device, fastest = _read_speeds(root / BENCH_FILE)
    for block in table.blocks:
        has_speed = any(column.split == BENCH for column in block.columns)
        for experiment in (row.experiment for row in block.rows if row.experiment is not None):
            speed: dict[str, Any] = {}
            if has_speed:
                model = experiment.recipe.model
                anchors = sum(6 * size**2 for size in model.level_sizes)
                speed = {"anchors": anchors, **fastest.get(model.name, {})}
            if "fps" in speed:
                network, engine = speed["network"], speed["engine"]
                notes.append(f"Our FPS of {network}: {device}, {engine}, random weights.")
            results, problems = read_results(root, experiment)
            notes += problems
            for column in block.columns:
                measured = _measured(column, results, speed)
                if measured is not None:
                    ours[experiment.name, column] = measured
    return TableReport(table, ours, tuple(notes), device)


def read_results(root: Path, experiment: Experiment) -> tuple[Results, list[str]]:
    """Read the results of every seed and split; also return why some results are not shown.

    Raises:
        InputError: if a file of results is damaged.
    """
    parent = seed_folder(root, experiment, 0).parent
    found: Results = {}
    notes = []
    for folder in sorted(parent.glob("seed-*"), key=lambda path: (len(path.name), path.name)):
        number = folder.name.removeprefix("seed-")
        # Without this file, the evaluation was interrupted.
        if not number.isdecimal() or not (folder / RUN_FILE).is_file():
            continue
        difference = recipe_difference(_read_object(folder / RUN_FILE), experiment)
        if difference is not None:
            notes.append(f"{folder} is not shown: {difference}")
            continue
        found[int(number)] = {}
        for split, classes in experiment.splits.items():
            file = folder / f"{split}.json"
            if not file.is_file():
                continue
            metrics = found[int(number)][split] = _read_object(file)
            if classes is not None and tuple(metrics.get("classes", ())) != classes:
                text = f"{file} averages other classes than {','.join(classes)}"
                raise InputError(f"{text}; remove its folder and run it again")
    return found, notes


def seed_folder(root: Path, experiment: Experiment, seed: int) -> Path:
    """The folder with the results of an experiment for one seed."""
    folder = root / "subset" if experiment.is_twin else root
    return folder / experiment.name / f"seed-{seed}"


def recipe_difference(run: Mapping[str, Any], experiment: Experiment) -> str | None:
    """How a run's recipe or data differs from the experiment's; None if it does not.

    Fields that only one of them has are skipped, because recipes gain fields over time.
    """
    wanted = experiment.recipe.model_dump(mode="json")
    came = run.get("recipe")
    if not isinstance(came, dict):
        return "its recipe is missing"
    data = Path(run.get("data", experiment.data_file)).name
    if data != experiment.data_file.name:
        return f"it was trained on {data}, the experiment has {experiment.data_file.name}"
    for key, value in _flat(wanted).items():
        if key not in _FREE and (there := _flat(came).get(key, value)) != value:
            return f"it was trained with {key} {there}, the experiment has {value}"
    return None


def _flat(recipe: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """The fields of a recipe and its parts, such as `model.backbone`, sorted by name."""
    flat: dict[str, Any] = {}
    for name, value in sorted(recipe.items()):
        is_part = isinstance(value, Mapping)
        flat |= _flat(value, f"{prefix}{name}.") if is_part else {prefix + name: value}
    return flat


def grids_of(report: TableReport, per_class: bool = False) -> list[Grid]:
    """The blocks of a table as text; with `per_class`, the paper's rows are above ours."""
    grids = []
    for block in report.table.blocks:
        columns = [one for one in block.columns if per_class or not one.of_one_class]
        is_wide = any(column.of_one_class for column in columns)
        grids.append((_one_below_the_other if is_wide else _side_by_side)(report, block, columns))
    return grids


def terminal_table(grid: Grid) -> RichTable:
    """The grid as a table for the terminal, without its title."""
    table = RichTable()
    for index, title in enumerate(grid.header):
        is_label = index < grid.num_labels
        table.add_column(
            title,
            justify="left" if is_label else "right",
            no_wrap=is_label,
            min_width=max(map(len, title.split()), default=0),  # never breaks a word
        )
    for row in grid.rows:
        table.add_row(*row)
    return table


def to_dict(report: TableReport) -> dict[str, Any]:
    """The report as JSON values."""
    return {
        "table": report.table.number,
        "caption": report.table.caption,
        "notes": list(report.notes),
        "blocks": [
            {"title": block.title, "rows": [_row_dict(report, block, row) for row in block.rows]}
            for block in report.table.blocks
        ],
    }


def _row_dict(report: TableReport, block: Block, row: TableRow) -> dict[str, Any]:
    measured = {column.title: report.measured(row, column) for column in block.columns}
    return {
        **dict(zip(block.labels, row.labels, strict=True)),
        "experiment": row.experiment.name if row.experiment else None,
        "source": row.experiment.source if row.experiment else "cited from the paper",
        "paper": {column.title: row.printed.get(column) for column in block.columns},
        "ours": {
            title: one and {"mean": fmean(one.values), "spread": one.spread, **one._asdict()}
            for title, one in measured.items()
        },
    }


def _measured(column: Column, results: Results, speed: Mapping[str, Any]) -> Measured | None:
    if column.split == BENCH:
        value = column.read(speed)
        return None if value is None else Measured((value,))
    values = {seed: column.read(splits.get(column.split, {})) for seed, splits in results.items()}
    known = {seed: value for seed, value in values.items() if value is not None}
    return Measured(tuple(known.values()), tuple(known)) if known else None


def _read_speeds(path: Path) -> tuple[str, dict[str, dict[str, Any]]]:
    """The device, and for each network the row of its fastest engine at batch size 1."""
    if not path.is_file():
        return "", {}
    record = read_json(path)
    fastest: dict[str, dict[str, Any]] = {}
    try:
        for row in sorted(record["rows"], key=lambda row: float(row["fps"])):
            if row["batch"] == 1:
                fastest[row["network"]] = {key: row[key] for key in ("network", "engine", "fps")}
        machine = record["machine"]
        is_cpu = machine["device"] == machine["cpu"]
        cores = f", {count_of(machine['cores'], 'core')}" if is_cpu else ""
        return f"{machine['device']}{cores}", fastest
    except (KeyError, TypeError, ValueError):
        raise InputError(
            f"{path} is not a record of blitznet bench; write it again with blitznet bench --json"
        ) from None


def _read_object(path: Path) -> dict[str, Any]:
    content = read_json(path)
    if not isinstance(content, dict):
        raise InputError(f"{path} is not a JSON object; remove its folder and run it again")
    return content


def _side_by_side(report: TableReport, block: Block, columns: Sequence[Column]) -> Grid:
    """For every column, the paper's figures, then ours; columns without figures are omitted."""
    rows = block.rows
    shown = [(title, [row.labels[i] for row in rows]) for i, title in enumerate(block.labels)]
    for column in columns:
        paper = [_paper_cell(row, column) for row in rows]
        ours = [_our_cell(report, row, column) for row in rows]
        if any(paper):
            shown.append((f"{column.title} paper", paper))
        if any(ours):
            shown.append((f"{column.title} ours" if any(paper) else column.title, ours))
    shown.append(("seeds", [_seeds_cell(report, row, columns) for row in rows]))
    header, cells = zip(*shown, strict=True)
    grid = [list(row) for row in zip(*cells, strict=True)]
    return Grid(block.title, list(header), grid, len(block.labels))


def _one_below_the_other(report: TableReport, block: Block, columns: Sequence[Column]) -> Grid:
    """Two lines per row, the paper's above ours, for tables with many columns."""
    rows = []
    for row in block.rows:
        if row.printed:
            paper = [_paper_cell(row, column) for column in columns]
            rows.append([*row.labels, "paper", *paper, ""])
        if row.experiment is not None:
            ours = [_our_cell(report, row, column) for column in columns]
            rows.append([*row.labels, "ours", *ours, _seeds_cell(report, row, columns)])
    header = [*block.labels, "", *(column.title for column in columns), "seeds"]
    return Grid(block.title, header, rows, len(block.labels) + 1)


def _paper_cell(row: TableRow, column: Column) -> str:
    value = row.printed.get(column)
    if value is None:
        return ""
    return f"{value:g}" if column.split == BENCH else f"{value:.{column.decimals}f}"


def _our_cell(report: TableReport, row: TableRow, column: Column) -> str:
    """Our figure, or a dash if the row's experiment gives it but has not run."""
    if row.experiment is None or not column.keys:
        return ""
    if column.split != BENCH and not column.of_one_class and column not in row.experiment.columns:
        return ""
    measured = report.measured(row, column)
    if measured is None:
        return NOT_RUN
    figures = [fmean(measured.values)] + [measured.spread] * (measured.spread is not None)
    return " ± ".join(f"{figure:.{column.decimals}f}" for figure in figures)


def _seeds_cell(report: TableReport, row: TableRow, columns: Sequence[Column]) -> str:
    if row.experiment is None:
        return ""
    figures = [report.measured(row, column) for column in columns]
    return str(max((len(one.seeds) for one in figures if one), default=0) or NOT_RUN)
