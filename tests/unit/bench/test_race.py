"""Turns and clocks of the speed benchmark: who works when, and what counts."""

from collections.abc import Callable

import numpy as np
import pytest

from blitznet.bench.race import Laps, Milliseconds, Turn, repeat_for, spread, take_turns
from blitznet.bench.record import Spread


class FakeClock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.seconds = 100.0

    def __call__(self) -> float:
        return self.seconds

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds


def test_everybody_has_a_turn_in_every_round_and_the_first_round_does_not_count() -> None:
    calls: list[tuple[str, float]] = []

    def turn_of(name: str) -> Turn:
        def turn(seconds: float) -> list[Milliseconds]:
            calls.append((name, seconds))
            return [{"total": float(len(calls))}]

        return turn

    given = list(take_turns([turn_of("a"), turn_of("b"), turn_of("c")], rounds=2, seconds=3.0))
    assert calls == [(name, 1.5) for name in "abcbcacab"]
    assert [which for which, _ in given] == [0, 1, 2, 1, 2, 0, 2, 0, 1]
    assert [samples for _, samples in given[:3]] == [[], [], []]
    assert [samples[0]["total"] for _, samples in given[3:]] == [4, 5, 6, 7, 8, 9]


@pytest.mark.parametrize(("seconds", "times"), [(0.0, 1), (1.0, 2), (1.1, 3)])
def test_work_is_repeated_until_the_time_is_over_and_done_at_least_once(
    seconds: float, times: int
) -> None:
    clock = FakeClock()

    def work() -> Milliseconds:
        clock.sleep(0.5)
        return {"total": 500.0}

    assert repeat_for(work, seconds, clock) == [{"total": 500.0}] * times


def test_stages_follow_each_other_and_parts_of_one_name_add_up() -> None:
    clock = FakeClock()
    laps = Laps(now=clock)
    for stage, seconds in (("pre", 1.0), ("network", 2.0), ("post", 3.0), ("network", 4.0)):
        clock.sleep(seconds)
        laps.end(stage)
    clock.sleep(50)  # after the last end: in no stage and not in the total
    assert laps.milliseconds(2) == {"pre": 500, "network": 3000, "post": 1500, "total": 5000}


def test_a_stage_that_has_a_clock_of_its_own_leaves_the_rest_to_the_next() -> None:
    clock = FakeClock()
    laps = Laps(now=clock)
    clock.sleep(5)
    laps.end("network", after=4.0)
    clock.sleep(1)
    laps.end("post")
    assert laps.milliseconds(1) == {"network": 4000, "post": 2000, "total": 6000}


def test_the_device_is_waited_for_before_the_clock_is_read() -> None:
    clock = FakeClock()
    synchronize: Callable[[], None] = lambda: clock.sleep(3)  # noqa: E731
    laps = Laps(synchronize, clock)
    laps.end("network")
    assert laps.seconds == {"network": 3.0}


def test_the_spread_is_that_of_numpy() -> None:
    values = np.random.default_rng(0).uniform(0, 10, 11)
    found = spread(values.tolist())
    assert found.median == pytest.approx(np.median(values))
    assert found.least == values.min()
    assert (found.quarter, found.three_quarters) == pytest.approx(
        np.percentile(values, (25, 75)).tolist()
    )
    assert spread([3.0]) == Spread(median=3, least=3, quarter=3, three_quarters=3)
