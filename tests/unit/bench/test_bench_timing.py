"""Timing in turns: who works when, and what counts."""

import pytest

from blitznet.bench import timing
from blitznet.bench.timing import Rival, time_in_turns


def test_rivals_work_in_turns_and_the_first_round_does_not_count(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = 0.0
    calls: list[tuple[str, int, int]] = []

    def worker(name: str, seconds: float) -> Rival:
        def work(item: int, number: int) -> None:
            nonlocal now
            calls.append((name, item, number))
            now += seconds * (100 if number == 0 else number)

        return Rival(name, "all of it", work)

    monkeypatch.setattr(timing, "process_time", lambda: now)
    monkeypatch.setattr(timing, "perf_counter", lambda: 3 * now)
    slow, fast = time_in_turns([worker("slow", 0.5), worker("fast", 0.25)], 2, 3)
    assert [(name, number) for name, item, number in calls if item == 0] == [
        ("slow", 0), ("fast", 0), ("fast", 1), ("slow", 1),
        ("slow", 2), ("fast", 2), ("fast", 3), ("slow", 3),
    ]  # fmt: skip
    assert (slow.cpu_ms_least, slow.cpu_ms, slow.cpu_ms_most) == (500, 1000, 1500)
    assert (fast.cpu_ms, fast.wall_ms) == (500, 1500)
