"""Work in threads ahead of its consumer, in order and in bounded memory."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import repeat
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_ahead(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int,
    waiting: int | None = None,
) -> Generator[Result]:
    """As `map`, with calls running in threads before their results are asked for.

    Args:
        function: called in threads; what it raises is raised here, in order.
        items: taken one at a time, in the consumer's thread.
        workers: number of threads, at least 1.
        waiting: how many results may be under way or wait, at least 1; None = `workers`.

    Yields:
        The results in the order of `items`. When the consumer stops early, calls that have not
        begun are dropped and the others are waited for.
    """
    waiting = waiting or workers
    with ThreadPoolExecutor(workers) as pool:
        pending: deque[Future[Result]] = deque()
        try:
            for item in items:
                if len(pending) == waiting:
                    yield pending.popleft().result()
                pending.append(pool.submit(function, item))
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()


def run_ahead(items: Iterable[Item], waiting: int) -> Generator[Item]:
    """As `items`, which runs in a thread of its own before its items are asked for.

    Args:
        items: what it raises is raised here, in order.
        waiting: how many items may wait while one is being used, at least 1.

    Yields:
        The items in order. When the consumer stops early, the item that is being made is waited
        for.
    """
    iterator, end = iter(items), object()
    made = map_ahead(lambda _: next(iterator, end), repeat(None), 1, waiting + 1)
    with closing(made):
        for item in made:
            if item is end:
                return
            yield item  # type: ignore[misc]  # all but `end` are items
