"""A table of the paper beside what we measured, as text that any format can print."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from blitznet.paper.figure import BENCH, Figure
from blitznet.paper.paper_table import Block, PaperTable, Row
from blitznet.paper.results import Measured, Results

NOT_RUN = "-"


@dataclass(frozen=True)
class Line:
    """A row with its figures.

    Attributes:
        row: of the paper's table.
        paper: what the paper printed, by column; None = nothing.
        ours: what we measured; None = not run, or not ours.
    """

    row: Row
    paper: tuple[float | None, ...]
    ours: tuple[Measured | None, ...]

    @property
    def num_seeds(self) -> int:
        """Most seeds of any of its figures; a speed has none."""
        return max((len(one.values) for one in self.ours if one and one.seeds), default=0)

    def is_measurable(self, figure: Figure) -> bool:
        """Whether we would have this figure if the row had been run."""
        experiment = self.row.experiment
        if experiment is None or not figure.keys:
            return False
        if figure.split == BENCH or figure.of_one_class:
            return True
        return figure in (experiment.figures or experiment.paper)


@dataclass(frozen=True)
class Report:
    """One block of a table, filled in.

    Attributes:
        block: of the table.
        figures: the columns that are shown.
        lines: the rows.
    """

    block: Block
    figures: tuple[Figure, ...]
    lines: tuple[Line, ...]


@dataclass(frozen=True)
class Grid:
    """A report as text.

    Attributes:
        title: of the block.
        header: titles of columns.
        rows: cells.
        num_labels: columns that are words, the leftmost.
    """

    title: str
    header: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    num_labels: int


def fill_in(table: PaperTable, results: Results, per_class: bool = False) -> list[Report]:
    """Every block of a table with the paper's figures and ours.

    Args:
        table: of the paper.
        results: what was measured.
        per_class: whether figures of single classes are shown.

    Raises:
        InputError: if a file of results is damaged.
    """
    reports = []
    for block in table.blocks:
        figures = tuple(f for f in block.figures if per_class or not f.of_one_class)
        lines = tuple(_fill_in_row(row, figures, results) for row in block.rows)
        reports.append(Report(block, figures, lines))
    return reports


def _fill_in_row(row: Row, figures: Sequence[Figure], results: Results) -> Line:
    paper = tuple(row.paper.get(figure) for figure in figures)
    experiment = row.experiment
    if experiment is None:
        return Line(row, paper, (None,) * len(figures))
    return Line(row, paper, tuple(results.measured(experiment, figure) for figure in figures))


def notes_of(table: PaperTable, results: Results) -> list[str]:
    """What stands below a table, once it is filled in."""
    notes = [*table.notes]
    record = results.speed_record()
    if record is not None and any(f.split == BENCH for f in table.block.figures):
        for experiment in table.block.experiments:
            row = results.speed(experiment)
            if row is not None:
                notes.append(f"Our FPS of {row.network}: {record.machine.device}, {row.runtime}.")
    return [*notes, *results.notes]


def side_by_side(report: Report) -> Grid:
    """A line a row: for every figure the paper's, then ours."""
    has_paper = [any(line.paper[i] is not None for line in report.lines) for i in _range(report)]
    has_ours = [any(line.is_measurable(f) for line in report.lines) for f in report.figures]
    header = list(report.block.labels)
    for index, figure in enumerate(report.figures):
        header += [f"{figure.title} paper"] * has_paper[index]
        header += [f"{figure.title} ours" if has_paper[index] else figure.title] * has_ours[index]
    rows = []
    for line in report.lines:
        cells = list(line.row.labels)
        for index, figure in enumerate(report.figures):
            cells += [_paper_cell(line, index, figure)] * has_paper[index]
            cells += [_our_cell(line, index, figure)] * has_ours[index]
        rows.append((*cells, _seeds_cell(line)))
    return Grid(report.block.title, (*header, "seeds"), tuple(rows), len(report.block.labels))


def one_below_the_other(report: Report) -> Grid:
    """Two lines a row, the paper's and ours: for many figures."""
    header = (*report.block.labels, "", *(figure.title for figure in report.figures), "seeds")
    rows = []
    for line in report.lines:
        if any(value is not None for value in line.paper):
            cells = (_paper_cell(line, i, f) for i, f in enumerate(report.figures))
            rows.append((*line.row.labels, "paper", *cells, ""))
        if line.row.experiment is not None:
            cells = (_our_cell(line, i, f) for i, f in enumerate(report.figures))
            rows.append((*line.row.labels, "ours", *cells, _seeds_cell(line)))
    return Grid(report.block.title, header, tuple(rows), len(report.block.labels) + 1)


def to_dict(table: PaperTable, reports: Sequence[Report], notes: Sequence[str]) -> dict[str, Any]:
    """Everything, for programs."""
    return {
        "table": table.number,
        "caption": table.caption,
        "notes": list(notes),
        "blocks": [
            {
                "title": report.block.title,
                "rows": [_line_dict(report, line) for line in report.lines],
            }
            for report in reports
        ],
    }


def _line_dict(report: Report, line: Line) -> dict[str, Any]:
    experiment = line.row.experiment
    return {
        **dict(zip(report.block.labels, line.row.labels, strict=True)),
        "experiment": experiment.name if experiment else None,
        "source": experiment.source if experiment else "cited from the paper",
        "paper": {f.title: line.paper[i] for i, f in enumerate(report.figures)},
        "ours": {
            figure.title: measured
            and {
                "mean": measured.mean,
                "spread": measured.spread,
                "values": list(measured.values),
                "seeds": list(measured.seeds),
            }
            for figure, measured in zip(report.figures, line.ours, strict=True)
        },
    }


def _range(report: Report) -> range:
    return range(len(report.figures))


def _paper_cell(line: Line, index: int, figure: Figure) -> str:
    value = line.paper[index]
    if value is None:
        return ""
    return f"{value:g}" if figure.split == BENCH else f"{value:.{figure.decimals}f}"


def _our_cell(line: Line, index: int, figure: Figure) -> str:
    if not line.is_measurable(figure):
        return ""
    measured = line.ours[index]
    if measured is None:
        return NOT_RUN
    text = f"{measured.mean:.{figure.decimals}f}"
    if measured.spread is not None:
        text += f" ± {measured.spread:.{figure.decimals}f}"
    return text


def _seeds_cell(line: Line) -> str:
    if line.row.experiment is None:
        return ""
    return str(line.num_seeds) if line.num_seeds else NOT_RUN
