"""Run work in threads ahead of its consumer, in order and in bounded memory."""

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
    """Like `map`, but run calls in threads before their results are needed.

    Args:
        function: called in threads; its exceptions are raised here, in order.
        items: consumed one at a time, in the consumer's thread.
        workers: number of threads, at least 1.
        waiting: maximum number of results in progress or waiting, at least 1; None = `workers`.
        weigh: share of the memory budget for an item's result. The sum stays at most 1; a result of
            1 or more must be consumed before the next item is taken. None = no limit.

    Yields:
        Results in the order of `items`. If the consumer stops early, pending calls are cancelled,
        and running calls are waited for.
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
                del item  # only the function keeps it now
                while weight >= 1 and pending:
                    yield pending.popleft()[0].result()
            while pending:
                yield pending.popleft()[0].result()
        finally:
            for future, _ in pending:
                future.cancel()


def prefetch_items(items: Iterable[Item], waiting: int) -> Generator[Item]:
    """Run an iterable in its own thread, ahead of its consumer.

    Args:
        items: iterable; its exceptions are raised here, in order.
        waiting: maximum number of items that wait while one is in use, at least 1.

    Yields:
        The items in order. If the consumer stops early, the item in progress is waited for.
    """
    iterator, end = iter(items), object()
    made = prefetch(lambda _: next(iterator, end), repeat(None), 1, waiting + 1)
    with closing(made):
        for item in made:
            if item is end:
                return
            yield item  # type: ignore[misc]  # all but `end` are items
