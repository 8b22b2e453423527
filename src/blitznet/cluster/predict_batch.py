"""Very many images in, a folder of Parquet parts out: what `blitznet batch` does."""

import logging
import os
import re
import socket
import sys
from collections import Counter
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from itertools import chain, islice, repeat
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np

from blitznet.cluster.batch_predictor import BatchPredictor
from blitznet.cluster.listing import Item, Shard, cut, list_items
from blitznet.cluster.parts import Parts, Seen, Settings
from blitznet.cluster.remote_files import is_uri, reason_of
from blitznet.cpu import usable_cores
from blitznet.errors import InputError, require_numbers
from blitznet.extras import require
from blitznet.inference.engines.engine import OnMessage
from blitznet.inference.prefetch import prefetch_items
from blitznet.inference.selection import DEFAULT_SCORE
from blitznet.model_files import find_network
from blitznet.progress import with_progress

if TYPE_CHECKING:
    from blitznet.cluster.workers import WorkerOptions

SHARD_SIZE = 1000

_SHARDS_AHEAD = 4
_LINE_SECONDS = 30
_CONNECT_SECONDS = 5
_RAY_DESCRIPTORS = 256
# The shards' names and results pass through it; images and maps do not.
_OBJECT_STORE_BYTES = 200_000_000
# A worker's memory, as measured: without a network, for each byte of the network's file, and for
# each image of a batch beyond the first.
_WORKER_BYTES = 500_000_000
_BYTES_PER_NETWORK_BYTE = 4
_BYTES_PER_IMAGE = 93_000_000


@dataclass
class BatchReport:
    """The result of `predict_batch`.

    Attributes:
        num_before: number of rows that existed before.
        num_new: number of rows written.
        errors: number of new rows with an error, by kind.
        by_worker: number of new rows of each worker.
        seconds: time from the start of the first worker to the last row.
    """

    num_before: int = 0
    num_new: int = 0
    errors: Counter[str] = field(default_factory=Counter)
    by_worker: Counter[str] = field(default_factory=Counter)
    seconds: float = 0.0

    def __str__(self) -> str:
        """`900 images done, 100 before, 9 errors; 90.1 images/s, 45.1 of each of 2 workers`."""
        text = f"{self.num_new} images done, {self.num_before} before, "
        text += f"{self.errors.total()} errors"
        if self.seconds and self.by_worker:
            speed, workers = self.num_new / self.seconds, len(self.by_worker)
            text += f"; {speed:.1f} images/s, {speed / workers:.1f} of each of {workers} workers"
        return text


def predict_batch(
    source: str | os.PathLike[str],
    out: str | os.PathLike[str],
    *,
    model: str | os.PathLike[str] | None = None,
    score: float = DEFAULT_SCORE,
    engine: str | None = None,
    batch: int | None = None,
    save_masks: bool = False,
    cpus_per_worker: int = 1,
    workers: str | int | None = None,
    address: str | None = None,
    limit: int | None = None,
    shard_size: int = SHARD_SIZE,
    mixed: bool = False,
    show_progress: bool = False,
    on_message: OnMessage | None = None,
) -> BatchReport:
    """Predict very many images on CPUs of this machine or a Ray cluster, and write Parquet parts.

    Images that have a row in `out` already are skipped, so the same call continues an interrupted
    one, whatever interrupted it. An image that cannot be read gets a row with an error.

    Args:
        source: a folder, a pattern, a list, or a tar file; see `list_items`.
        out: folder or URI of the parts; docs/batch.md describes them.
        model: a bundled network's name, or a file that every machine has.
        score: minimum score of an object, 0..1.
        engine: as of `blitznet.load`; None = that of the rows in `out`, else the fastest here.
        batch: images per forward pass; None = what suits the device.
        save_masks: whether to store segmentation maps, as PNGs in the column `seg_map`.
        cpus_per_worker: cores of a worker and threads of its engine.
        workers: their number, `4`; or `2:8`: at least 2, at most 8; None = what the cores allow.
        address: address of a running cluster, `auto` or HOST:PORT; None = start one on this
            machine and stop it at the end.
        limit: stop after this many images of the input.
        shard_size: images per part.
        mixed: whether `out` may hold rows of another network or score; they stay.
        show_progress: whether to show a bar on a terminal.
        on_message: receives a line every half minute if there is no terminal; None = silence.

    Raises:
        InputError: if the input, the network, the cluster or the folder is unusable.
        WorkerError: if workers die before they can work.
    """
    require_numbers(1, cpus_per_worker=cpus_per_worker, limit=limit, shard_size=shard_size)
    source = os.fspath(source)
    least, most = _parse_workers(workers)
    items = list_items(source)
    first = next(items, None)
    if first is None:
        raise InputError(f"{source}: no images in it")
    arguments = {
        "model": _absolute_file(model), "score": score, "engine": engine, "device": "cpu",
        "batch": batch, "cpus": cpus_per_worker, "save_masks": save_masks,
    }  # fmt: skip
    parts = Parts(os.fspath(out))
    settings = _settings(parts, arguments)
    parts.require_usable(settings, mixed)
    seen = Seen(parts.done_ids())
    report = BatchReport(num_before=len(seen))
    shards = _new_shards(islice(chain([first], items), limit), seen, shard_size)
    first_shard = next(shards, None)
    if first_shard is None:
        return report
    require("ray", "ray", "batch prediction")
    # Ray's driver prints pages of its nodes' logs on stdout when one dies; they are in /tmp/ray.
    os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")
    from blitznet.cluster.workers import WorkerOptions

    with _cleaned(parts), _cluster(address, cpus_per_worker) as num_cpus:
        parts.prepare(settings)
        options = WorkerOptions(
            predictor=arguments,
            model=settings["model"],
            out=_absolute(os.fspath(out)),
            folder=str(Path.cwd()),
            cpus=cpus_per_worker,
            memory=_memory(model, batch or 1),
            minimum=least,
            maximum=most or max(1, num_cpus // cpus_per_worker),
        )
        all_shards = chain([first_shard], shards)
        with closing(_predict(all_shards, options, report, on_message or _ignore)) as images:
            for _ in with_progress(images, limit, "images", show_progress, has_speed=True):
                pass
    return report


def _settings(parts: Parts, arguments: dict[str, Any]) -> Settings:
    """What rows depend on.

    Loads the network here once, before a cluster starts, and fixes the engine among the arguments:
    that of the rows which are there, else the fastest.

    Raises:
        InputError: if workers could not load it, or it does not give objects of that score.
    """
    arguments["engine"] = arguments["engine"] or (parts.settings() or {}).get("engine")
    predictor = BatchPredictor(**arguments | {"cpus": None})
    try:
        image = np.zeros((8, 8, 3), np.uint8)
        predictor.predictor.predict(image, arguments["score"], arguments["batch"])
    except ValueError as error:
        raise InputError(str(error)) from None
    finally:
        predictor.predictor.close()
    arguments["engine"] = predictor.predictor.engine.name
    kept = {key: arguments[key] for key in ("score", "engine", "save_masks")}
    return {"model": predictor.model} | kept


def _predict(
    shards: Iterable[tuple[int, Shard]],
    options: "WorkerOptions",
    report: BatchReport,
    on_message: OnMessage,
) -> Generator[None]:
    """Adds results to the report; yields once for each image."""
    from blitznet.cluster.workers import predict_shards

    start = last_line = monotonic()
    with (
        closing(prefetch_items(shards, _SHARDS_AHEAD)) as ahead,
        closing(predict_shards(ahead, options, on_message)) as results,
    ):
        for done in results:
            now = monotonic()
            report.seconds = now - start
            if done is not None:
                report.num_new += done.num_images
                report.errors += done.errors
                report.by_worker[done.worker] += done.num_images
            if now - last_line >= _LINE_SECONDS and not sys.stderr.isatty():
                last_line = now
                on_message(str(report))
            yield from repeat(None, done.num_images if done else 0)


@contextmanager
def _cleaned(parts: Parts) -> Iterator[None]:
    try:
        yield
    finally:
        parts.clean()


def _ignore(line: str) -> None:
    pass


def _new_shards(items: Iterable[Item], seen: Seen, size: int) -> Iterator[tuple[int, Shard]]:
    """Shards cut from the whole input, so that a later run cuts it alike, less what was seen."""
    for index, shard in enumerate(cut(items, size)):
        new = seen.add_new(shard)
        if new:
            yield index, new


def _parse_workers(workers: str | int | None) -> tuple[int, int | None]:
    """The least number of workers to begin with, and the most; None = what the cores allow."""
    if workers is None:
        return 1, None
    match = re.fullmatch(r"([1-9]\d*)(?::([1-9]\d*))?", str(workers))
    least, most = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
    if least > most:
        raise InputError(
            f"workers must be a number or MINIMUM:MAXIMUM, such as 4 or 2:8, got {workers!r}"
        )
    return (least if match and match[2] else 1), most


def _memory(model: str | os.PathLike[str] | None, batch: int) -> int:
    """Bytes of a worker, as measured; docs/batch.md has the figures."""
    files = find_network(model)
    path = files.exported or files.require_checkpoint()
    network = _BYTES_PER_NETWORK_BYTE * path.stat().st_size
    return _WORKER_BYTES + network + _BYTES_PER_IMAGE * (batch - 1)


def _absolute(out: str) -> str:
    return out if is_uri(out) else str(Path(out).absolute())


def _absolute_file(model: str | os.PathLike[str] | None) -> str | None:
    """Of a network that is a file, whatever the working folder of a worker is."""
    return (
        None if model is None else str(Path(model).absolute() if Path(model).is_file() else model)
    )


@contextmanager
def _cluster(address: str | None, cpus_per_worker: int) -> Iterator[int]:
    """The cluster at an address, the one this process uses already, or a local one.

    Yields:
        How many CPUs it has.

    Raises:
        InputError: if it cannot be reached or started, or this machine has too few CPUs.
    """
    import ray

    if ray.is_initialized():
        yield int(ray.cluster_resources().get("CPU", 0))
        return
    if address is None and cpus_per_worker > usable_cores():
        raise InputError(f"a worker of {cpus_per_worker} CPUs: here are {usable_cores()}")
    kind: dict[str, Any] = {"address": address}
    if address is None:
        os.environ.setdefault("RAY_worker_niceness", "0")  # else 15: whatever else runs comes first
        kind = {
            "address": "local", "num_cpus": usable_cores(), "include_dashboard": False,
            "object_store_memory": _OBJECT_STORE_BYTES,
        }  # fmt: skip
    try:
        if address is None:
            _require_descriptors()
        else:
            _require_answer(address)
        ray.init(**kind, logging_level=logging.ERROR, log_to_driver=False)
    except Exception as error:  # noqa: BLE001 - plain ones are raised, too
        what = f"no Ray cluster at {address}" if address else "Ray cannot start here"
        raise InputError(f"{what} ({reason_of(error)})") from None
    try:
        yield int(ray.cluster_resources().get("CPU", 0))
    finally:
        ray.shutdown()


def _require_descriptors() -> None:
    """Raises OSError where Ray would try for half a minute, and then not end."""
    if os.name != "nt":
        import resource

        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if 0 <= limit < _RAY_DESCRIPTORS:
            raise OSError(f"only {limit} files may be open; try `ulimit -n {_RAY_DESCRIPTORS}`")


def _require_answer(address: str) -> None:
    """Raises OSError where Ray would try for minutes."""
    parts = urlsplit(address if "//" in address else f"//{address}")
    if not (parts.hostname and parts.port):
        return
    socket.create_connection((parts.hostname, parts.port), _CONNECT_SECONDS).close()
