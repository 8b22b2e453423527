"""Queue with a limited number of running predictions and of waiting requests."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from math import ceil
from time import perf_counter
from typing import Any, TypeVar

from fastapi import HTTPException

from blitznet.inference.predictor import Predictor

Result = TypeVar("Result")

# Weight of the latest prediction in the running mean for `Retry-After`.
_LATEST = 0.1


def busy_error(retry_after: int = 1) -> HTTPException:
    """The answer 503 without room, with the estimated seconds until there is, at least 1."""
    headers = {"Retry-After": str(retry_after)}
    return HTTPException(503, "the service is busy; try again later", headers)


class PredictionQueue:
    """Assigns predictors to requests in order of arrival.

    Workers fetch the next request themselves, so they are never idle while the event loop is busy.

    Args:
        predictors: one per worker, each used by one thread at a time.
        limit: maximum number of waiting requests.
    """

    def __init__(self, predictors: Sequence[Predictor], limit: int) -> None:
        self.workers = len(predictors)
        self._limit = limit
        self._free = list(predictors)
        self._waiting: OrderedDict[Future[Any], Callable[[Predictor], Any]] = OrderedDict()
        self._threads = ThreadPoolExecutor(len(predictors), "blitznet-worker")
        self._mean_seconds = 0.0

    @property
    def waiting(self) -> int:
        """Number of waiting requests."""
        return len(self._waiting)

    @property
    def busy(self) -> int:
        """Number of busy workers."""
        return self.workers - len(self._free)

    def require_room(self) -> None:
        """Raise `busy_error` if the queue is full."""
        ahead = self.waiting + self.busy
        if ahead >= self.workers + self._limit:
            raise busy_error(max(1, ceil(ahead * self._mean_seconds / self.workers)))

    def run(self, work: Callable[[Predictor], Result]) -> asyncio.Future[Result]:
        """Queue `work`, to run in a thread with the next free predictor.

        Returns:
            A future of the result. If it is cancelled, a waiting request leaves the queue; a
            running one finishes before its predictor is reused, and its result is dropped.

        Raises:
            HTTPException: if the queue is full; raised immediately.
        """
        self.require_room()
        job: Future[Result] = Future()
        job.add_done_callback(lambda job: self._waiting.pop(job, None))
        self._waiting[job] = work
        self._threads.submit(self._work)
        return asyncio.wrap_future(job)

    def _work(self) -> None:
        """Run the request that has waited longest, unless its client has disconnected."""
        try:
            job, work = self._waiting.popitem(last=False)
        except KeyError:
            return
        if not job.set_running_or_notify_cancel():
            return
        predictor, start = self._free.pop(), perf_counter()
        error, result = None, None
        try:
            result = work(predictor)
            seconds = perf_counter() - start
            mean = self._mean_seconds or seconds
            self._mean_seconds = mean + _LATEST * (seconds - mean)
        except BaseException as raised:  # noqa: BLE001 - raised in the caller
            error = raised
        self._free.append(predictor)  # before the client gets the answer and may ask again
        job.set_exception(error) if error else job.set_result(result)

    def close(self) -> None:
        """Wait for running predictions, then release threads and predictors."""
        self._threads.shutdown()
        for predictor in self._free:
            predictor.close()
