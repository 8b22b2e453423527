from collections.abc import Callable, Generator, Iterator
from threading import Event, current_thread

import pytest

from blitznet.inference.prefetch import prefetch, prefetch_items


def test_results_come_in_the_order_of_the_items() -> None:
    second_is_done = Event()

    def slow_first(item: int) -> int:
        if item == 0:
            assert second_is_done.wait(10)  # so the calls do run side by side
        else:
            second_is_done.set()
        return item * item

    assert list(prefetch(slow_first, range(5), workers=2)) == [0, 1, 4, 9, 16]
    assert list(prefetch(str, [], workers=2)) == []


def test_no_more_items_are_taken_than_there_are_workers_ahead() -> None:
    taken = []

    def items() -> Iterator[int]:
        for item in range(100):
            taken.append(item)
            yield item

    results = prefetch(str, items(), workers=2)
    assert next(results) == "0"
    assert len(taken) <= 3
    results.close()
    assert len(taken) <= 3


@pytest.mark.parametrize(
    "weights", [[0.4] * 6, [0.4, 0.7, 0.4, 0.7], [1.0] * 5, [9.0, 0.0, 9.0, 0.4, 0.4, 0.4, 0.4]]
)
def test_results_that_wait_take_no_more_than_their_memory(weights: list[float]) -> None:
    held: list[float] = []
    at_once: list[list[float]] = []

    def make(weight: float) -> float:
        held.append(weight)
        at_once.append(list(held))
        return weight

    for given, weight in zip(prefetch(make, weights, 3, weigh=float), weights, strict=True):
        assert given == weight
        held.remove(given)  # the consumer lets it go before it asks for the next
    assert all(sum(some) <= 1 or len(some) == 1 for some in at_once)


@pytest.mark.parametrize(
    "results",
    [
        lambda: prefetch(lambda item: 6 // item, [3, 2, 0, 1], workers=3),
        lambda: prefetch_items((6 // item for item in (3, 2, 0)), waiting=5),
    ],
)
def test_an_error_is_raised_where_its_result_was_due(
    results: Callable[[], Iterator[int]],
) -> None:
    items = results()
    assert [next(items), next(items)] == [2, 3]
    with pytest.raises(ZeroDivisionError):
        next(items)


def test_items_are_made_ahead_but_not_more_than_may_wait() -> None:
    made: list[int] = []
    is_full = Event()

    def items() -> Generator[int]:
        for item in range(100):
            made.append(item)
            if len(made) == 3:  # one is out, two wait
                is_full.set()
            yield item

    results = prefetch_items(items(), waiting=2)
    assert next(results) == 0
    assert is_full.wait(10)
    results.close()
    assert len(made) == 3


def test_all_items_come_in_order_and_none_after_the_end() -> None:
    assert list(prefetch_items((item for item in range(50)), waiting=3)) == list(range(50))
    assert list(prefetch_items((item for item in ()), waiting=1)) == []


def test_items_are_made_in_a_thread_that_ends_and_closed_when_the_consumer_stops() -> None:
    threads = []
    was_closed = Event()

    def items() -> Generator[int]:
        threads.append(current_thread())
        try:
            while True:
                yield 0
        finally:
            was_closed.set()

    results = prefetch_items(items(), waiting=1)
    next(results)
    results.close()
    assert was_closed.is_set()
    assert threads[0] is not current_thread()
    assert not threads[0].is_alive()
