from collections.abc import Iterator
from threading import Event

import pytest

from blitznet.inference.ahead import map_ahead


def test_results_come_in_the_order_of_the_items() -> None:
    second_is_done = Event()

    def slow_first(item: int) -> int:
        if item == 0:
            assert second_is_done.wait(10)  # so the calls do run side by side
        else:
            second_is_done.set()
        return item * item

    assert list(map_ahead(slow_first, range(5), workers=2)) == [0, 1, 4, 9, 16]


def test_no_more_items_are_taken_than_there_are_workers_ahead() -> None:
    taken = []

    def items() -> Iterator[int]:
        for item in range(100):
            taken.append(item)
            yield item

    results = map_ahead(str, items(), workers=2)
    assert next(results) == "0"
    assert len(taken) <= 3
    results.close()  # type: ignore[attr-defined]
    assert len(taken) <= 3


def test_an_error_is_raised_where_its_result_was_due() -> None:
    results = map_ahead(lambda item: 6 // item, [3, 2, 0, 1], workers=3)
    assert [next(results), next(results)] == [2, 3]
    with pytest.raises(ZeroDivisionError):
        next(results)


def test_no_items_give_no_results() -> None:
    assert list(map_ahead(str, [], workers=2)) == []
