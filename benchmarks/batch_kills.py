"""Kill drivers, workers and nodes of `blitznet batch` at random, and compare with a run left alone.

    python benchmarks/batch_kills.py IMAGES --kills 30

A cluster of two nodes of one core each runs beside this process. When a run has come to its end in
spite of the kills, its rows must be those of the run left alone in every column but `ms`; then the
next run begins, until there have been as many kills as wanted.
"""

import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import psutil
import pyarrow as pa
import ray
import typer
from pyarrow import dataset
from ray.cluster_utils import Cluster

NODE = {"num_cpus": 1, "object_store_memory": 80_000_000}
BLITZNET = (sys.executable, "-m", "blitznet")


def main(
    images: Annotated[Path, typer.Argument(help="Folder of images.")],
    kills: int = 30,
    limit: Annotated[int, typer.Option(help="Images of a run.")] = 600,
    shard_size: int = 20,
    longest: Annotated[float, typer.Option(help="Seconds between kills, at most.")] = 15,
    kinds: Annotated[str, typer.Option(help="What is killed.")] = "driver,worker,node",
    seed: int = 0,
) -> None:
    """Print what was killed, and whether all runs agree."""
    rng = random.Random(seed)
    done: Counter[str] = Counter()
    with TemporaryDirectory() as scratch:
        command = [*BLITZNET, "batch", str(images), "--limit", str(limit),
                   "--shard-size", str(shard_size), "--engine", "onnxruntime"]  # fmt: skip
        alone = Path(scratch) / "alone"
        subprocess.run([*command, "--out", str(alone)], check=True)
        expected = rows_of(alone)
        cluster = Cluster(initialize_head=True, head_node_args=NODE | {"num_cpus": 0})
        nodes = [cluster.add_node(**NODE) for _ in range(2)]
        ray.init(address=cluster.address, logging_level="ERROR", log_to_driver=False)
        runs = 0
        while done.total() < kills:
            out = Path(scratch) / f"run-{runs}"
            with_address = [*command, "--out", str(out), "--address", cluster.address]
            while not is_complete(
                with_address, cluster, nodes, rng, done, kills, longest, kinds.split(",")
            ):
                pass
            compare(rows_of(out), expected)
            runs += 1
        ray.shutdown()
        cluster.shutdown()
    typer.echo(f"{dict(done)} killed in {runs} runs of {expected.num_rows} images: all rows equal")


def is_complete(
    command: list[str], cluster: Cluster, nodes: list[Any], rng: random.Random,
    done: Counter[str], kills: int, longest: float, kinds: list[str],
) -> bool:  # fmt: skip
    """Start a driver and kill until it or its work is gone."""
    driver = subprocess.Popen(command)
    while True:
        try:
            code = driver.wait(rng.uniform(3, longest) if done.total() < kills else None)
            if code:
                raise SystemExit(f"the driver ended with exit code {code}")
            return True
        except subprocess.TimeoutExpired:
            kind = rng.choice(kinds)
        if kind == "driver":
            driver.send_signal(signal.SIGKILL)
            driver.wait()
            done[kind] += 1
            return False
        if kind == "node":
            index = rng.randrange(len(nodes))
            cluster.remove_node(nodes[index], allow_graceful=False)
            nodes[index] = cluster.add_node(**NODE)
        elif not kill_worker(rng):
            continue
        done[kind] += 1
        typer.echo(f"{time.strftime('%X')} {dict(done)}")


def kill_worker(rng: random.Random) -> bool:
    """One of the processes that predict, if there is any yet."""
    workers = []
    for process in psutil.process_iter(["cmdline"]):
        if (process.info["cmdline"] or [""])[0].startswith("ray::Worker"):
            workers.append(process)
    if workers:
        rng.choice(workers).kill()
    return bool(workers)


def rows_of(out: Path) -> pa.Table:
    """Sorted by id, without times; no id twice."""
    table = dataset.dataset(out).to_table().drop_columns("ms").sort_by("id")
    assert len(set(table["id"].to_pylist())) == len(table), "an id is there twice"
    return table.combine_chunks()


def compare(table: pa.Table, expected: pa.Table) -> None:
    assert table["id"].equals(expected["id"]), "ids are lost"
    for name in expected.column_names:
        assert table[name].equals(expected[name]), f"{name} differs"


if __name__ == "__main__":
    typer.run(main)
