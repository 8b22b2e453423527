"""A bounded number of predictions at work, a bounded number of requests behind them."""

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from math import ceil
from time import perf_counter
from typing import Any, TypeVar

from blitznet.inference.predictor import Predictor

Result = TypeVar("Result")

# Weight of the latest prediction in the mean that `Retry-After` is computed from.
_LATEST = 0.1


class BusyError(Exception):
    """All workers are busy and the queue is full.

    Attributes:
        retry_after: seconds until there should be room, at least 1.
    """

    def __init__(self, retry_after: int) -> None:
        super().__init__("the service is busy; try again later")
        self.retry_after = retry_after


class PredictionQueue:
    """Hands predictors to requests in the order of their arrival.

    A worker takes the next request by itself, so none rests while the event loop is busy.

    Args:
        predictors: one per worker, each used by one thread at a time.
        limit: requests that may wait.
    """

    def __init__(self, predictors: Sequence[Predictor], limit: int) -> None:
        self.workers = len(predictors)
        self._limit = limit
        self._free = list(predictors)
        self._waiting: OrderedDict[asyncio.Future[Any], Callable[[Predictor], Any]] = OrderedDict()
        self._threads = ThreadPoolExecutor(len(predictors), "blitznet-worker")
        self._mean_seconds = 0.0

    @property
    def waiting(self) -> int:
        """Requests that wait."""
        return len(self._waiting)

    @property
    def busy(self) -> int:
        """Number of busy workers."""
        return self.workers - len(self._free)

    def require_room(self) -> None:
        """Raises BusyError if a request that came now would not be taken."""
        ahead = self.waiting + self.busy
        if ahead >= self.workers + self._limit:
            raise BusyError(max(1, ceil(ahead * self._mean_seconds / self.workers)))

    def run(self, work: Callable[[Predictor], Result]) -> asyncio.Future[Result]:
        """Wait for a predictor and let `work` use it in a thread.

        Returns:
            What becomes of it. If it is cancelled, a waiting request leaves the queue; one at work
            is finished, and its result dropped, before the predictor is given to the next.

        Raises:
            BusyError: at once, if there is no room.
        """
        self.require_room()
        job: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        job.add_done_callback(lambda job: self._waiting.pop(job, None))
        self._waiting[job] = work
        self._threads.submit(self._work)
        return job

    def _work(self) -> None:
        """The request that waits longest, in a thread; nothing if its client has gone."""
        try:
            job, work = self._waiting.popitem(last=False)
        except KeyError:
            return
        if job.cancelled():
            return
        predictor, start = self._free.pop(), perf_counter()
        error, result = None, None
        try:
            result = work(predictor)
            seconds = perf_counter() - start
            mean = self._mean_seconds or seconds
            self._mean_seconds = mean + _LATEST * (seconds - mean)
        except BaseException as raised:  # noqa: BLE001 - it is the caller's
            error = raised
        self._free.append(predictor)  # before the client hears of it, and may ask again
        job.get_loop().call_soon_threadsafe(_settle, job, result, error)

    def close(self) -> None:
        """Wait for running predictions, then release threads and predictors."""
        self._threads.shutdown()
        for predictor in self._free:
            predictor.close()


def _settle(job: asyncio.Future[Result], result: Result, error: BaseException | None) -> None:
    if not job.done():  # else its client has gone
        job.set_exception(error) if error else job.set_result(result)
