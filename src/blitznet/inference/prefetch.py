"""Work in threads ahead of its consumer, in order and in bounded memory."""

from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from queue import Full, Queue
from threading import Event, Thread
from typing import TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

# How often a waiting thread looks whether its consumer has gone, seconds.
_TICK = 0.1


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


def run_ahead(items: Iterable[Item], depth: int) -> Generator[Item]:
    """As `items`, which are made in a thread of their own before they are asked for.

    Args:
        items: what it raises is raised here, in order.
        depth: how many may wait, at least 1.

    Yields:
        The items in order. When the consumer stops early, the item that is being made is waited
        for, and `items` is closed in its thread.
    """
    waiting: Queue[tuple[Item] | BaseException | None] = Queue(depth)
    is_over = Event()

    def offer(entry: tuple[Item] | BaseException | None) -> None:
        while not is_over.is_set():
            try:
                waiting.put(entry, timeout=_TICK)
                return
            except Full:
                continue

    def work() -> None:
        iterator = iter(items)
        try:
            for item in iterator:
                offer((item,))
                if is_over.is_set():
                    break
            if isinstance(iterator, Generator):
                iterator.close()
        except BaseException as error:  # noqa: BLE001 - raised again in the consumer's thread
            offer(error)
        else:
            offer(None)

    thread = Thread(target=work, daemon=True)
    thread.start()
    try:
        while (entry := waiting.get()) is not None:
            if isinstance(entry, BaseException):
                raise entry
            yield entry[0]
    finally:
        is_over.set()
        thread.join()
