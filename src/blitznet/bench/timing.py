"""Rivals timed in turns, so that whatever else the machine does hits them alike."""

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from statistics import median
from time import perf_counter, process_time
from typing import Any


@dataclass(frozen=True)
class Rival:
    """One of several ways to do the same.

    Attributes:
        name: for the table.
        clock: what is inside the clock.
        work: does one item; takes the item's number and the number of the round.
    """

    name: str
    clock: str
    work: Callable[[int, int], object]


@dataclass(frozen=True)
class Timing:
    """Milliseconds an item of one rival.

    Attributes:
        name: of the rival.
        clock: what was inside the clock.
        cpu_ms: median over the rounds of the process's own time on a core, which waiting for a busy
            machine does not count into.
        cpu_ms_least: of the fastest round.
        cpu_ms_most: of the slowest round.
        wall_ms: median of the time on the wall.
    """

    name: str
    clock: str
    cpu_ms: float
    cpu_ms_least: float
    cpu_ms_most: float
    wall_ms: float

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


def time_in_turns(rivals: Sequence[Rival], num_items: int, rounds: int) -> list[Timing]:
    """Every round gives all items to each rival, in an order that turns; a round 0 warms up.

    Args:
        rivals: work in this process, on one thread if the figures are to be per core.
        num_items: items of a round.
        rounds: that count.
    """
    cpu: list[list[float]] = [[] for _ in rivals]
    wall: list[list[float]] = [[] for _ in rivals]
    for number in range(rounds + 1):
        for turn in range(len(rivals)):
            which = (turn + number) % len(rivals)
            work = rivals[which].work
            cpu_start, wall_start = process_time(), perf_counter()
            for item in range(num_items):
                work(item, number)
            cpu_end, wall_end = process_time(), perf_counter()
            if number > 0:
                cpu[which].append(1000 * (cpu_end - cpu_start) / num_items)
                wall[which].append(1000 * (wall_end - wall_start) / num_items)
    return [
        Timing(rival.name, rival.clock, median(own), min(own), max(own), median(waited))
        for rival, own, waited in zip(rivals, cpu, wall, strict=True)
    ]
