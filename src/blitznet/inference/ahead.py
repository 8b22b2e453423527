"""Work in threads ahead of its consumer, in order and in bounded memory."""

from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")


def map_ahead(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int
) -> Iterator[Result]:
    """As `map`, with `workers` calls under way before their results are asked for.

    Args:
        function: called in threads; what it raises is raised here, in order.
        items: taken one at a time, in the consumer's thread.
        workers: threads, and how many results may wait, at least 1.

    Yields:
        The results in the order of `items`. When the consumer stops early, calls that have not
        begun are dropped and the others are waited for.
    """
    with ThreadPoolExecutor(workers) as pool:
        pending: deque[Future[Result]] = deque()
        try:
            for item in items:
                if len(pending) == workers:
                    yield pending.popleft().result()
                pending.append(pool.submit(function, item))
            while pending:
                yield pending.popleft().result()
        finally:
            for future in pending:
                future.cancel()
