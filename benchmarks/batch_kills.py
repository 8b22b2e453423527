"""Kill drivers, workers and nodes of `blitznet batch` at random; compare with an undisturbed run.

    python benchmarks/batch_kills.py IMAGES --kills 30

This process starts a cluster of two nodes with one core each. When a run has finished despite the
kills, its rows must equal those of the undisturbed run in every column except `ms`. Then the next
run begins, until the wanted number of kills is reached.
"""

import os
import random
import subprocess
import sys
import time
from collections import Counter
from contextlib import suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

# Ray must not take a busy machine for a dead one.
os.environ |= {
    "RAY_health_check_timeout_ms": "60000",
    "RAY_worker_niceness": "0",
}

import psutil
import pyarrow as pa
import ray
import typer
from pyarrow import dataset
from ray.cluster_utils import Cluster

NODE = {"num_cpus": 1, "object_store_memory": 80_000_000}
BLITZNET = (sys.executable, "-m", "blitznet")


class Killer:
    """A cluster of two nodes, and counts of what was killed."""

    def __init__(self, kinds: list[str], longest: float, seed: int) -> None:
        self.cluster = Cluster(initialize_head=True, head_node_args=NODE | {"num_cpus": 0})
        self._nodes = [self._add_node() for _ in range(2)]
        ray.init(address=self.cluster.address, logging_level="ERROR", log_to_driver=False)
        self._kinds, self._longest, self._rng = kinds, longest, random.Random(seed)
        self.done: Counter[str] = Counter()

    def run(self, command: list[str], wanted: int) -> bool:
        """Start a driver and kill processes until it ends by itself (True) or is killed (False)."""
        driver = subprocess.Popen([*command, "--address", self.cluster.address])
        try:
            while True:
                is_enough = self.done.total() >= wanted
                try:
                    code = driver.wait(None if is_enough else self._rng.uniform(3, self._longest))
                except subprocess.TimeoutExpired:
                    kind = self._rng.choice(self._kinds)
                else:
                    if code:
                        raise SystemExit(f"the driver ended with exit code {code}")
                    return True
                if getattr(self, f"_kill_{kind}")(driver):
                    self.done[kind] += 1
                    typer.echo(f"{time.strftime('%X')} {dict(self.done)}")
                if kind == "driver":
                    return False
        finally:
            driver.kill()
            driver.wait()

    def _add_node(self) -> Any:
        while True:
            with suppress(Exception):  # Ray raises a plain Exception after waiting for 30 s
                return self.cluster.add_node(**NODE)

    def _kill_driver(self, driver: subprocess.Popen[bytes]) -> bool:
        driver.kill()
        driver.wait()
        return True

    def _kill_node(self, _: subprocess.Popen[bytes]) -> bool:
        index = self._rng.randrange(len(self._nodes))
        self.cluster.remove_node(self._nodes[index], allow_graceful=False)
        self._nodes[index] = self._add_node()
        return True

    def _kill_worker(self, _: subprocess.Popen[bytes]) -> bool:
        """Kill one of the predicting processes, if there are any yet."""
        workers = []
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                if " ".join(process.cmdline()).startswith("ray::Worker"):
                    workers.append(process)
        if workers:
            self._rng.choice(workers).kill()
        return bool(workers)


def main(
    images: Annotated[Path, typer.Argument(help="Folder of images.")],
    kills: int = 30,
    limit: Annotated[int, typer.Option(help="Images per run.")] = 600,
    shard_size: int = 20,
    longest: Annotated[float, typer.Option(help="Maximum seconds between kills.")] = 15,
    kinds: Annotated[str, typer.Option(help="What to kill.")] = "driver,worker,node",
    seed: int = 0,
) -> None:
    """Print what was killed, and fail unless all runs agree."""
    with TemporaryDirectory() as scratch:
        command = [*BLITZNET, "batch", str(images), "--limit", str(limit),
                   "--shard-size", str(shard_size), "--engine", "onnxruntime"]  # fmt: skip
        alone = Path(scratch) / "alone"
        subprocess.run([*command, "--out", str(alone)], check=True)
        expected = rows_of(alone)
        killer = Killer(kinds.split(","), longest, seed)
        runs = 0
        while killer.done.total() < kills:
            out = Path(scratch) / f"run-{runs}"
            while not killer.run([*command, "--out", str(out)], kills):
                pass
            compare(rows_of(out), expected)
            runs += 1
        ray.shutdown()
        killer.cluster.shutdown()
    found = f"{dict(killer.done)} killed in {runs} runs of {expected.num_rows} images"
    typer.echo(f"{found}: all rows equal")


def rows_of(out: Path) -> pa.Table:
    """The rows of a run sorted by id, without times; ids must be unique."""
    table = dataset.dataset(out).to_table().drop_columns("ms").sort_by("id")
    assert len(set(table["id"].to_pylist())) == len(table), "duplicate ids"
    return table.combine_chunks()


def compare(table: pa.Table, expected: pa.Table) -> None:
    assert table["id"].equals(expected["id"]), "ids are lost"
    for name in expected.column_names:
        assert table[name].equals(expected[name]), f"{name} differs"


if __name__ == "__main__":
    typer.run(main)
