"""Ray actors that predict and write shards; retries when one dies."""

import os
import platform
from collections import Counter, deque
from collections.abc import Generator, Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any

import pyarrow as pa
import ray
from ray.exceptions import RayError, RayTaskError

from blitznet.cluster.batch_predictor import BatchPredictor
from blitznet.cluster.batch_report import BatchReport
from blitznet.cluster.listing import Shard
from blitznet.cluster.parts import Parts
from blitznet.cluster.remote_files import is_relative, reason_of
from blitznet.cluster.rows import SCHEMA, as_text, error_kind, error_row, to_columns
from blitznet.errors import BlitzNetError, InputError, WorkerError
from blitznet.inference.engines.engine import OnMessage

# Deaths until an image becomes an error. A shard that kills its worker is retried, then its halves.
MAX_DEATHS = 3
# Two per worker are added: a large machine may be lost.
MAX_DEATHS_IN_A_ROW = 10
_HEARTBEAT_SECONDS = 30


class Worker:
    """Class of the actors. `open` loads the network, because `__init__` cannot return errors."""

    def open(self, predictor: dict[str, Any], model: str, out: str, folder: str) -> None:
        """Load the network; raise InputError if this machine lacks it. See `WorkerPool`."""
        self._missing = ""
        try:
            os.chdir(folder)
        except OSError as error:
            self._missing = f"{folder}: not on every machine ({reason_of(error)})"
        self._predictor = BatchPredictor(**predictor)
        if self._predictor.model != model:
            raise InputError(
                f"a worker has the network {self._predictor.model}, not {model}; "
                "install the same one on every machine"
            )
        self._parts = Parts(out)

    def predict(self, index: int, shard: Shard) -> tuple[str, Counter[str]]:
        """Predict a shard and write its part; see `Parts.write`.

        Returns:
            This process and machine, and the number of rows with an error, by kind.

        Raises:
            InputError: if a path is relative and this machine lacks the base folder.
        """
        ids, uris = zip(*shard, strict=True)
        if self._missing and any(map(is_relative, uris)):
            raise InputError(f"{self._missing}; name images by absolute paths or URIs")
        columns = self._predictor({"id": ids, "uri": uris})
        self._parts.write(index, pa.table(columns, schema=SCHEMA))
        pairs = zip(columns["uri"].to_pylist(), columns["error"].to_pylist(), strict=True)
        errors = Counter(error_kind(uri, error) for uri, error in pairs if error is not None)
        return f"{os.getpid()}@{platform.node()}", errors


@dataclass
class _Task:
    index: int
    shard: Shard
    deaths: int = 0


@dataclass
class WorkerPool:
    """Workers of the cluster that Ray is connected to.

    A worker has one shard at a time, so its death shows which shard killed it.

    Attributes:
        predictor: arguments of `BatchPredictor`.
        model: required value of `BatchPredictor.model` on every machine.
        out: the result folder.
        folder: base folder of relative paths.
        cpus: CPUs per worker, and threads of its engine.
        memory: bytes per worker.
        minimum: number of workers to wait for before starting.
        maximum: number of workers to start.
        report: results are added to it.
    """

    predictor: dict[str, Any]
    model: str
    out: str
    folder: str
    cpus: int
    memory: int
    minimum: int
    maximum: int
    report: BatchReport
    # Calls in progress, with their worker, and their task or None while it starts.
    _calls: dict[Any, tuple[Any, _Task | None]] = field(default_factory=dict)
    _idle: list[Any] = field(default_factory=list)
    _again: deque[_Task] = field(default_factory=deque)
    _deaths_in_a_row: int = 0

    def predict(self, shards: Iterator[tuple[int, Shard]], on_message: OnMessage) -> Generator[int]:
        """Predict shards, and retry those whose worker dies.

        Args:
            shards: shards with their indices; consumed when a worker is free.
            on_message: receives a line if workers cannot start.

        Yields:
            Number of images of a finished shard, or 0, at least every half a minute.

        Raises:
            BlitzNetError: raised by a worker, for example if a part cannot be written.
        """
        tasks = (_Task(*one) for one in shards)
        is_open = is_over = False
        try:
            for _ in range(self.maximum):
                self._start()
            while True:
                is_open = is_open or len(self._idle) >= self.minimum
                while is_open and self._idle and (self._again or not is_over):
                    task = self._again.popleft() if self._again else next(tasks, None)
                    is_over = task is None
                    if task is not None:
                        actor = self._idle.pop()
                        self._calls[actor.predict.remote(task.index, task.shard)] = (actor, task)
                is_predicting = any(task for _, task in self._calls.values())
                if is_over and not (self._again or is_predicting):
                    return
                ready, _ = ray.wait([*self._calls], timeout=_HEARTBEAT_SECONDS)
                if not ready:
                    if not is_open:
                        needs = f"{self.cpus} CPUs and {self.memory >> 20} MiB on one machine"
                        on_message(f"waiting for {self.minimum} workers: each needs {needs}")
                    yield 0
                for ref in ready:
                    yield self._take(ref)
        finally:
            for actor in (*self._idle, *(actor for actor, _ in self._calls.values())):
                with suppress(RayError):
                    ray.kill(actor)

    def _start(self) -> None:
        resources = {"num_cpus": self.cpus, "memory": self.memory}
        actor = ray.remote(Worker).options(**resources, max_restarts=0).remote()
        call = actor.open.remote(self.predictor, self.model, self.out, self.folder)
        self._calls[call] = (actor, None)

    def _take(self, ref: Any) -> int:
        """Add the result of a finished call to the report.

        Returns:
            Number of images; 0 if the worker is new or died.

        Raises:
            BlitzNetError: raised by the worker, or if workers keep dying without a result.
        """
        actor, task = self._calls.pop(ref)
        try:
            result = ray.get(ref)
        except RayTaskError as error:
            ray.kill(actor)
            if isinstance(error.cause, BlitzNetError):
                raise error.cause from None
            reason = reason_of(error.cause)  # such as MemoryError: another machine may succeed
        except RayError:
            ray.kill(actor)
            reason = "its process or machine ended, for example because memory ran out"
        else:
            self._idle.append(actor)
            if task is None:
                return 0
            self._deaths_in_a_row = 0
            return self._count(task.shard, *result)
        self._deaths_in_a_row += 1
        if self._deaths_in_a_row > MAX_DEATHS_IN_A_ROW + 2 * self.maximum:
            raise WorkerError(
                f"{self._deaths_in_a_row} workers died without a result; does each have "
                f"{self.memory >> 20} MiB of memory? The last reason: {reason}"
            )
        self._start()
        return 0 if task is None else self._try_again(task, reason)

    def _count(self, shard: Shard, worker: str, errors: Counter[str]) -> int:
        self.report.num_new += len(shard)
        self.report.by_worker[worker] += len(shard)
        self.report.errors += errors
        return len(shard)

    def _try_again(self, task: _Task, reason: str) -> int:
        """Retry a shard, then its halves; a single image finally becomes an error."""
        task.deaths += 1
        middle = len(task.shard) // 2
        if task.deaths == MAX_DEATHS:
            ((id_, uri),) = task.shard
            row = error_row(f"{uri}: it killed {MAX_DEATHS} workers ({reason})")
            row |= {"id": as_text(id_), "uri": as_text(uri), "model": self.model}
            Parts(self.out).write(task.index, pa.table(to_columns([row]), schema=SCHEMA))
            errors = Counter([error_kind(row["uri"], row["error"])])
            return self._count(task.shard, "driver", errors)
        if task.deaths == 1 or not middle:
            self._again.append(task)
        else:
            for half in (task.shard[:middle], task.shard[middle:]):
                self._again.append(_Task(task.index, half, 1))
        return 0
