"""A table of the paper: its rows in their order, each one cited or an experiment of ours."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from blitznet.paper.experiment import Experiment
from blitznet.paper.figure import Figure


@dataclass(frozen=True, eq=False)
class Row:
    """One line.

    Attributes:
        labels: what stands left of the figures, as printed.
        cited: what the paper printed, per cent; None = what the experiment says.
        experiment: that gives our figures; None = another system's row.
    """

    labels: tuple[str, ...]
    cited: Mapping[Figure, float] | None = None
    experiment: Experiment | None = None

    @property
    def paper(self) -> Mapping[Figure, float]:
        """What the paper printed."""
        if self.cited is not None:
            return self.cited
        return self.experiment.paper if self.experiment is not None else {}


@dataclass(frozen=True, eq=False)
class Block:
    """Rows that share their columns.

    Attributes:
        title: what these rows are.
        labels: titles of the columns left of the figures.
        figures: the columns.
        rows: from top to bottom.
    """

    title: str
    labels: tuple[str, ...]
    figures: tuple[Figure, ...]
    rows: tuple[Row, ...]

    @property
    def experiments(self) -> tuple[Experiment, ...]:
        """Those of its rows."""
        return tuple(row.experiment for row in self.rows if row.experiment is not None)


@dataclass(frozen=True, eq=False)
class PaperTable:
    """One of the paper's tables, and its twin.

    Attributes:
        number: 1 to 8.
        caption: what it shows, in our words.
        block: the rows that the paper has.
        more: variants of ours of the same experiments.
        notes: what a reader has to know: where the paper contradicts itself, what it leaves open.
    """

    number: int
    caption: str
    block: Block
    more: tuple[Block, ...] = ()
    notes: tuple[str, ...] = field(default=())

    @property
    def blocks(self) -> tuple[Block, ...]:
        """All of them, the paper's first."""
        return (self.block, *self.more)
