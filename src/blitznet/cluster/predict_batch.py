"""Predict very many images to a folder of Parquet parts, as `blitznet batch` does."""

import logging
import os
import re
import socket
import sys
from collections.abc import Generator, Iterable, Iterator
from contextlib import ExitStack, closing
from itertools import chain, islice, repeat
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np

from blitznet.cluster.batch_predictor import BatchPredictor
from blitznet.cluster.batch_report import BatchReport
from blitznet.cluster.listing import Item, Shard, cut, list_items
from blitznet.cluster.parts import Parts, Settings, id_digest
from blitznet.cluster.remote_files import reason_of
from blitznet.cluster.rows import as_text
from blitznet.cpu import usable_cores
from blitznet.errors import InputError, require_numbers
from blitznet.extras import require
from blitznet.inference.engines.engine import OnMessage
from blitznet.inference.prefetch import prefetch_items
from blitznet.inference.selection import DEFAULT_SCORE
from blitznet.model_files import find_network
from blitznet.progress import with_progress

if TYPE_CHECKING:
    from blitznet.cluster.workers import WorkerPool

SHARD_SIZE = 1000

_SHARDS_AHEAD = 4
_LINE_SECONDS = 30
_CONNECT_SECONDS = 5
_RAY_DESCRIPTORS = 256
# Ray's object store holds names and results of shards, but no images or segmentation maps.
_OBJECT_STORE_BYTES = 200_000_000
# Measured memory of a worker: without a network, per byte of the network's file, and per additional
# image of a batch.
_WORKER_BYTES = 500_000_000
_BYTES_PER_NETWORK_BYTE = 4
_BYTES_PER_IMAGE = 93_000_000


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
    """Predict very many images on the CPUs of this machine or a Ray cluster, to Parquet parts.

    Images that already have a row in `out` are skipped, so the same call resumes an interrupted
    run. An image that cannot be read gets a row with an error.

    Args:
        source: a folder, a pattern, a list, or a tar file; see `list_items`.
        out: folder or URI of the parts; docs/batch.md describes them.
        model: a bundled network's name, or a file that every machine has.
        score: minimum score of an object, 0..1.
        engine: see `blitznet.load`; None = the engine of the rows in `out`, else the fastest.
        batch: images per forward pass; None = the default for the device.
        save_masks: whether to store segmentation maps, as PNGs in the column `seg_map`.
        cpus_per_worker: CPUs per worker, and threads of its engine.
        workers: a number, or minimum and maximum as `2:8`; None = as many as the CPUs allow.
        address: address of a running cluster, `auto` or HOST:PORT; None = start one on this
            machine and stop it at the end.
        limit: stop after this many images of the input.
        shard_size: images per part.
        mixed: whether to keep rows in `out` of another network or other settings.
        show_progress: whether to show a progress bar on a terminal.
        on_message: receives a line every half minute if there is no terminal, or None.

    Raises:
        InputError: if the input, the network, the cluster or the folder is unusable.
        WorkerError: if workers keep dying without a result.
    """
    require_numbers(1, cpus_per_worker=cpus_per_worker, limit=limit, shard_size=shard_size)
    source = os.fspath(source)
    minimum, maximum = _parse_workers(workers)
    items = list_items(source)
    first = next(items, None)
    if first is None:
        raise InputError(f"{source}: no images in it")
    arguments = {
        "model": model, "score": score, "engine": engine, "device": "cpu",
        "batch": batch, "cpus": cpus_per_worker, "save_masks": save_masks,
    }  # fmt: skip
    parts = Parts(os.fspath(out))
    settings = _settings(parts, arguments)
    parts.require_usable(settings, mixed)
    with ExitStack() as stack:
        stack.enter_context(parts.locked())
        parts.require_usable(settings, mixed)  # again, because another run may have ended just now
        seen = set(map(id_digest, parts.done_ids()))
        report = BatchReport(num_before=len(seen))
        shards = _new_shards(islice(chain([first], items), limit), seen, shard_size)
        first_shard = next(shards, None)
        if first_shard is None:
            return report
        require("ray", "ray", "batch prediction")
        # If a node dies, Ray's driver prints pages of logs on stdout; they are also in /tmp/ray.
        os.environ.setdefault("RAY_DEDUP_LOGS_SKIP_REGEX", ".")
        import ray

        from blitznet.cluster.workers import WorkerPool

        stack.callback(parts.clean)
        if not ray.is_initialized():
            _connect(address, cpus_per_worker)
            stack.callback(ray.shutdown)
        num_cpus = int(ray.cluster_resources().get("CPU", 0))
        parts.prepare(settings)
        pool = WorkerPool(
            predictor=arguments,
            model=settings["model"],
            out=os.fspath(out),
            folder=str(Path.cwd()),
            cpus=cpus_per_worker,
            memory=_memory(model, batch or 1),
            minimum=minimum,
            maximum=maximum or max(1, num_cpus // cpus_per_worker),
            report=report,
        )
        shards = chain([first_shard], shards)
        on_message = on_message or (lambda _: None)
        images = stack.enter_context(closing(_predict(shards, pool, on_message)))
        for _ in with_progress(images, limit, "images", show_progress):
            pass
    return report


def _settings(parts: Parts, arguments: dict[str, Any]) -> Settings:
    """Find the settings that rows depend on.

    Loads the network once on this machine, before a cluster starts, and sets `arguments["engine"]`:
    the engine of existing rows, else the fastest.

    Raises:
        InputError: if the network cannot be loaded, or was exported with a higher minimum score.
    """
    arguments["engine"] = arguments["engine"] or (parts.settings() or {}).get("engine")
    predictor = BatchPredictor(**arguments | {"cpus": None})
    with predictor.predictor as network:
        network.predict(np.zeros((8, 8, 3), np.uint8), arguments["score"], arguments["batch"])
    arguments["engine"] = network.engine.name
    kept = {key: arguments[key] for key in ("score", "engine", "save_masks")}
    return {"model": predictor.model} | kept


def _predict(
    shards: Iterable[tuple[int, Shard]], pool: "WorkerPool", on_message: OnMessage
) -> Generator[None]:
    """Add times to the report, and send it every half minute; yield once per image."""
    start = last_line = monotonic()
    with (
        closing(prefetch_items(shards, _SHARDS_AHEAD)) as ahead,
        closing(pool.predict(ahead, on_message)) as counts,
    ):
        for num_images in counts:
            now = monotonic()
            pool.report.seconds = now - start
            if now - last_line >= _LINE_SECONDS and not sys.stderr.isatty():
                last_line = now
                on_message(str(pool.report))
            yield from repeat(None, num_images)


def _new_shards(items: Iterable[Item], seen: set[bytes], size: int) -> Iterator[tuple[int, Shard]]:
    """Split the whole input, so that later runs split it alike, and drop images already seen.

    `seen` holds digests of ids; those of new images are added.
    """
    for index, shard in enumerate(cut(items, size)):
        new = []
        for item in shard:
            digest = id_digest(as_text(item.id))
            if digest not in seen:
                seen.add(digest)
                new.append(item)
        if new:
            yield index, new


def _parse_workers(workers: str | int | None) -> tuple[int, int | None]:
    """Parse the minimum and maximum number of workers; None = as many as the CPUs allow."""
    if workers is None:
        return 1, None
    match = re.fullmatch(r"(?:([1-9]\d*):)?([1-9]\d*)", str(workers))
    minimum, maximum = (int(match[1] or 1), int(match[2])) if match else (1, 0)
    if minimum > maximum:
        raise InputError(
            f"workers must be a number or MINIMUM:MAXIMUM, such as 4 or 2:8, got {workers!r}"
        )
    return minimum, maximum


def _memory(model: str | os.PathLike[str] | None, batch: int) -> int:
    """Estimate a worker's memory in bytes; docs/batch.md has the measurements."""
    network = _BYTES_PER_NETWORK_BYTE * find_network(model).path.stat().st_size
    return _WORKER_BYTES + network + _BYTES_PER_IMAGE * (batch - 1)


def _connect(address: str | None, cpus_per_worker: int) -> None:
    """Connect to the cluster at an address, or start a local one.

    Raises:
        InputError: if it cannot be reached or started, or this machine has too few CPUs.
    """
    import ray

    if address is None and cpus_per_worker > usable_cores():
        raise InputError(f"a worker needs {cpus_per_worker} CPUs, but there are {usable_cores()}")
    try:
        if address is None:
            _require_descriptors()
            os.environ.setdefault("RAY_worker_niceness", "0")  # default: 15, below other work
            kind = {
                "address": "local", "num_cpus": usable_cores(), "include_dashboard": False,
                "object_store_memory": _OBJECT_STORE_BYTES,
            }  # fmt: skip
        else:
            _require_answer(address)
            kind = {"address": address}
        ray.init(**kind, logging_level=logging.ERROR, log_to_driver=False)
    except Exception as error:  # noqa: BLE001 - Ray raises plain Exception, too
        what = f"no Ray cluster at {address}" if address else "Ray cannot start here"
        raise InputError(f"{what} ({reason_of(error)})") from None


def _require_descriptors() -> None:
    """Raise OSError if Ray would hang because too few files may be open."""
    if os.name != "nt":
        import resource

        limit = resource.getrlimit(resource.RLIMIT_NOFILE)[0]
        if 0 <= limit < _RAY_DESCRIPTORS:
            raise OSError(f"only {limit} files may be open; try `ulimit -n {_RAY_DESCRIPTORS}`")


def _require_answer(address: str) -> None:
    """Raise OSError if nothing answers at the address; Ray would keep trying for minutes."""
    parts = urlsplit(address if "//" in address else f"//{address}")
    if not (parts.hostname and parts.port):
        return
    socket.create_connection((parts.hostname, parts.port), _CONNECT_SECONDS).close()
