"""A bounded number of predictions at work, a bounded number of requests behind them."""

import asyncio
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from math import ceil
from time import perf_counter
from typing import TypeVar

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

    Args:
        predictors: one per worker, each used by one thread at a time.
        limit: requests that may wait.

    Attributes:
        waiting: requests that wait now.
    """

    def __init__(self, predictors: Sequence[Predictor], limit: int) -> None:
        self.workers = len(predictors)
        self.waiting = 0
        self._limit = limit
        self._free = list(predictors)
        self._slots = asyncio.Semaphore(len(predictors))
        self._threads = ThreadPoolExecutor(len(predictors), "blitznet-worker")
        self._mean_seconds = 0.0

    @property
    def busy(self) -> int:
        """Number of busy workers."""
        return self.workers - len(self._free)

    def require_room(self) -> None:
        """Raises BusyError if a request that came now would not be taken."""
        if self._slots.locked() and self.waiting >= self._limit:
            seconds = (self.waiting + self.workers) * self._mean_seconds / self.workers
            raise BusyError(max(1, ceil(seconds)))

    async def run(self, work: Callable[[Predictor], Result]) -> Result:
        """Wait for a predictor and let `work` use it in a thread.

        If the caller is cancelled, a waiting request leaves the queue; one at work is finished,
        and its result dropped, before the predictor is given to the next.

        Raises:
            BusyError: at once, if there is no room.
        """
        self.require_room()
        self.waiting += 1
        try:
            await self._slots.acquire()
        finally:
            self.waiting -= 1
        predictor, start = self._free.pop(), perf_counter()

        def give_back(job: asyncio.Future[Result]) -> None:
            self._free.append(predictor)
            self._slots.release()
            if not job.cancelled() and job.exception() is None:
                seconds = perf_counter() - start
                mean = self._mean_seconds or seconds
                self._mean_seconds = mean + _LATEST * (seconds - mean)

        job = asyncio.get_running_loop().run_in_executor(self._threads, work, predictor)
        job.add_done_callback(give_back)
        return await asyncio.shield(job)

    def close(self) -> None:
        """Wait for running predictions, then release threads and predictors."""
        self._threads.shutdown()
        for predictor in self._free:
            predictor.close()
