"""A grid for people: on a terminal, or as Markdown."""

from collections.abc import Sequence

from rich.table import Table

from blitznet.paper.report import Grid, Report, one_below_the_other, side_by_side


def grid_of(report: Report, per_class: bool) -> Grid:
    """The layout that fits: many columns need the paper's figures above ours."""
    is_wide = per_class and any(figure.of_one_class for figure in report.figures)
    return one_below_the_other(report) if is_wide else side_by_side(report)


def terminal_table(grid: Grid) -> Table:
    """For a terminal, without its title."""
    table = Table()
    for index, title in enumerate(grid.header):
        is_label = index < grid.num_labels
        table.add_column(
            title,
            justify="left" if is_label else "right",
            no_wrap=is_label,
            min_width=max(map(len, title.split()), default=0),  # words are not cut
        )
    for row in grid.rows:
        table.add_row(*row)
    return table


def markdown_table(grid: Grid) -> str:
    """For a document, without its title."""
    rule = ["---" if index < grid.num_labels else "---:" for index in range(len(grid.header))]
    return "\n".join(_markdown_row(cells) for cells in (grid.header, rule, *grid.rows))


def _markdown_row(cells: Sequence[str]) -> str:
    return "| " + " | ".join(cell.replace("|", r"\|") for cell in cells) + " |"
