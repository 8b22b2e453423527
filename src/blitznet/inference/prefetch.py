"""Work in threads ahead of its consumer, in order and in bounded memory."""

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import closing
from itertools import repeat
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def prefetch(
    function: Callable[[Item], Result],
    items: Iterable[Item],
    workers: int,
    waiting: int | None = None,
    weigh: Callable[[Item], float] | None = None,
) -> Generator[Result]:
    """As `map`, with calls running in threads before their results are asked for.

    Args:
        function: called in threads; what it raises is raised here, in order.
        items: taken one at a time, in the consumer's thread.
        workers: number of threads, at least 1.
        waiting: how many results may be under way or wait, at least 1; None = `workers`.
        weigh: share of the memory for results that an item's takes. Together they take 1; a result
            of 1 or more has to be taken before the next item is. None = none takes any.

    Yields:
        The results in the order of `items`. When the consumer stops early, calls that have not
        begun are dropped and the others are waited for.
    """
    waiting = waiting or workers
    with ThreadPoolExecutor(workers) as pool:
        pending: deque[tuple[Future[Result], float]] = deque()
        try:
            for item in items:
                weight = weigh(item) if weigh else 0.0
                others = sum(other for _, other in pending)
                while pending and (len(pending) == waiting or others + weight > 1):
                    others -= pending[0][1]
                    yield pending.popleft()[0].result()
                pending.append((pool.submit(function, item), weight))
                del item  # its memory is the function's now
                while weight >= 1 and pending:
                    yield pending.popleft()[0].result()
            while pending:
                yield pending.popleft()[0].result()
        finally:
            for future, _ in pending:
                future.cancel()


def prefetch_items(items: Iterable[Item], waiting: int) -> Generator[Item]:
    """As `items`, which runs in a thread of its own before its items are asked for.

    Args:
        items: what it raises is raised here, in order.
        waiting: how many items may wait while one is being used, at least 1.

    Yields:
        The items in order. When the consumer stops early, the item that is being made is waited
        for.
    """
    iterator, end = iter(items), object()
    made = prefetch(lambda _: next(iterator, end), repeat(None), 1, waiting + 1)
    with closing(made):
        for item in made:
            if item is end:
                return
            yield item  # type: ignore[misc]  # all but `end` are items
