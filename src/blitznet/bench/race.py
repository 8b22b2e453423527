"""Contestants timed on the wall, in turns, so that whatever else the machine does hits them alike.

`timing` counts the processor's time of one thread; here all cores work, and what counts is how
long a person waits.
"""

from collections.abc import Callable, Iterator, Sequence
from time import perf_counter

import numpy as np

from blitznet.bench.record import Spread

Milliseconds = dict[str, float]  # a picture, by stage
Turn = Callable[[float], list[Milliseconds]]  # works for so many seconds, at least once

TOTAL = "total"


class Laps:
    """A clock that is stopped at the end of every stage of one call.

    Args:
        synchronize: waits for the device; None = stages may end before their work is done, and
            only the total is right.
        now: seconds.
    """

    def __init__(
        self,
        synchronize: Callable[[], None] | None = None,
        now: Callable[[], float] = perf_counter,
    ):
        self._synchronize, self._now = synchronize, now
        self.seconds: dict[str, float] = {}
        self._begun = self._last = now()

    def end(self, stage: str, after: float | None = None) -> None:
        """A stage is over, and the next one begins.

        Args:
            stage: its name; several parts with one name add up.
            after: seconds since the last end that it took by its own clock; None = until now. What
                is left belongs to the next stage.
        """
        if after is None:
            if self._synchronize is not None:
                self._synchronize()
            moment = self._now()
        else:
            moment = self._last + after
        self.seconds[stage] = self.seconds.get(stage, 0.0) + moment - self._last
        self._last = moment

    def milliseconds(self, num_pictures: int) -> Milliseconds:
        """Of all stages and from the beginning to the last end, a picture."""
        times = self.seconds | {TOTAL: self._last - self._begun}
        return {stage: 1000 * seconds / num_pictures for stage, seconds in times.items()}


def repeat_for(
    work: Callable[[], Milliseconds], seconds: float, now: Callable[[], float] = perf_counter
) -> list[Milliseconds]:
    """What `work` gives, at least once and until so many seconds are over."""
    start = now()
    samples = [work()]
    while now() - start < seconds:
        samples.append(work())
    return samples


def take_turns(
    turns: Sequence[Turn], rounds: int, seconds: float
) -> Iterator[tuple[int, list[Milliseconds]]]:
    """Give each its turn in every round, in an order that turns; a round 0 warms up.

    Args:
        turns: work for as many seconds as they are told.
        rounds: that count.
        seconds: of each over all rounds that count.

    Yields:
        Whose turn it was, and its samples; none of round 0. There are (rounds + 1) * len(turns).
    """
    for number in range(rounds + 1):
        for turn in range(len(turns)):
            which = (turn + number) % len(turns)
            samples = turns[which](seconds / rounds)
            yield which, samples if number > 0 else []


def spread(values: Sequence[float]) -> Spread:
    """Median, least and quartiles."""
    median, least, quarter, three_quarters = np.quantile(values, (0.5, 0, 0.25, 0.75)).tolist()
    return Spread(median=median, least=least, quarter=quarter, three_quarters=three_quarters)
