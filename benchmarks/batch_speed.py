"""Compare the speed of `blitznet batch` and `blitznet predict`, and measure the driver's overhead.

    python benchmarks/batch_speed.py data/VOCdevkit/VOC2012/JPEGImages

IMAGES is a folder of JPEGs, linked as often as needed; one in a hundred is broken. Both commands
process the same files, one after the other; wall time and CPU time include startup. Then stub
workers, which do not predict, show the driver's cost per row. Last comes a folder of a million
empty files with `--limit 100`. Prints a table, and writes JSON with `--json`.
"""

import json
import os
import resource
import shutil
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from itertools import cycle, islice
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter, sleep
from typing import Annotated, Any

import psutil
import typer
from pyarrow import dataset

from blitznet.bench import describe_machine

BROKEN_EVERY = 100
LOOK_SECONDS = 0.5
BLITZNET = (sys.executable, "-m", "blitznet")
# (images per shard, images) of the runs with stub workers; the first measures the startup time.
STUB_RUNS = ((10, 10), (10, 20_000), (1000, 1_000_000))
STUB = """
import sys
from collections import Counter
from time import process_time

import blitznet
from blitznet.cluster import workers


class Stub:
    def open(self, *_):
        pass

    def predict(self, index, shard):
        return "stub", Counter()


workers.Worker = Stub
blitznet.predict_batch(sys.argv[1], sys.argv[2], engine="onnxruntime", shard_size=int(sys.argv[3]))
print(process_time())
"""
FIRST_NAME = """
import sys
from time import perf_counter

from blitznet.cluster.listing import list_items

start = perf_counter()
next(list_items(sys.argv[1]))
print(perf_counter() - start)
"""


def main(
    images: Annotated[Path, typer.Argument(help="Folder of JPEGs.")],
    count: Annotated[int, typer.Option(help="Images to predict.")] = 20_000,
    names: Annotated[int, typer.Option(help="Empty files to list; 0 = none.")] = 1_000_000,
    shard_size: int = 500,
    engine: str = "onnxruntime",
    scratch: Annotated[Path | None, typer.Option(help="Folder for links and results.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json")] = None,
) -> None:
    """Print speed, CPU time and memory of both, the driver's cost, and seconds to the first row."""
    result: dict[str, Any] = {"machine": describe_machine(), "count": count, "engine": engine}
    with TemporaryDirectory(dir=scratch) as folder:
        linked = link_images(images, Path(folder) / "in", count)
        predict = run_predict(linked, count, engine)
        batch = run_batch(linked, count, engine, shard_size)
        ratio = round(batch["images_s"] / predict["images_s"], 3)
        result |= {"predict": predict, "batch": batch, "ratio": ratio, "driver": stub_runs(folder)}
        if names:
            result["names"] = list_names(Path(folder) / "names", names)
    if json_file is not None:
        json_file.write_text(json.dumps(result, indent=1) + "\n")
    typer.echo(table(result))


def link_images(images: Path, folder: Path, count: int) -> Path:
    """Link the images, or copy them where hard links fail; every hundredth file is truncated."""
    folder.mkdir()
    for index, path in enumerate(islice(cycle(sorted(images.glob("*.jpg"))), count)):
        target = folder / f"{index:07}.jpg"
        if index % BROKEN_EVERY == 0:
            target.write_bytes(path.read_bytes()[:1000])
            continue
        try:
            target.hardlink_to(path)
        except OSError:
            shutil.copy(path, target)
    return folder


def run_predict(folder: Path, count: int, engine: str) -> dict[str, float]:
    command = [*BLITZNET, "predict", str(folder), "--no-draw", "--engine", engine,
               "--out", str(folder.with_name("predicted"))]  # fmt: skip
    begun = perf_counter()
    # The exit code is 1, because some images are broken.
    subprocess.run(command, check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    seconds, used = perf_counter() - begun, resource.getrusage(resource.RUSAGE_CHILDREN)
    processor = used.ru_utime + used.ru_stime
    return {
        "images_s": round(count / seconds, 2),
        "processor_ms": round(1000 * processor / count, 2),
    }


def run_batch(folder: Path, count: int, engine: str, shard_size: int) -> dict[str, Any]:
    out = folder.with_name("out")
    command = [*BLITZNET, "batch", str(folder), "--out", str(out), "--engine", engine,
               "--shard-size", str(shard_size)]  # fmt: skip
    begun = perf_counter()
    memory, processor = watch(subprocess.Popen(command, stdout=sys.stderr), out, shard_size)
    seconds = perf_counter() - begun
    rows = dataset.dataset(out).to_table(columns=["id", "error"])
    ids = sorted(rows["id"].to_pylist())
    assert ids == [f"{index:07}.jpg" for index in range(count)], "ids are lost or twice"
    broken = rows.filter(rows["error"].is_valid())["id"].to_pylist()
    assert sorted(broken) == ids[::BROKEN_EVERY], "errors are elsewhere"
    quarter = next((mb for done, mb in memory.items() if 4 * done >= count), 0.0)
    return {
        "images_s": round(count / seconds, 2),
        "processor_ms": {kind: round(1000 * s / count, 2) for kind, s in processor.items()},
        "errors": len(broken),
        "driver_mb_at_a_quarter": quarter,
        "driver_mb_at_the_end": list(memory.values())[-1],
    }


def watch(
    driver: subprocess.Popen[bytes], out: Path, shard_size: int
) -> tuple[dict[int, float], Counter[str]]:
    """Watch a run until it ends.

    Returns:
        The driver's resident memory in MB by rows done, and CPU seconds of driver, workers and Ray.
    """
    process, memory = psutil.Process(driver.pid), {}
    used: dict[tuple[str, int], float] = {}
    while driver.poll() is None:
        with suppress(psutil.Error):
            done = len(list(out.glob("part-*.parquet"))) * shard_size
            memory[done] = round(process.memory_info().rss / 1e6, 1)
            for one in (process, *process.children(recursive=True)):
                with suppress(psutil.Error):
                    is_worker = " ".join(one.cmdline()).startswith("ray::Worker")
                    kind = "driver" if one == process else "workers" if is_worker else "ray"
                    used[kind, one.pid] = sum(one.cpu_times()[:2])
        sleep(LOOK_SECONDS)
    if driver.returncode:
        raise SystemExit("blitznet batch failed")
    seconds: Counter[str] = Counter()
    for (kind, _), value in used.items():
        seconds[kind] += value  # type: ignore[assignment]
    return memory, seconds


def stub_runs(folder: str) -> dict[str, float]:
    """CPU time of the driver: microseconds per row, milliseconds per shard."""
    seconds = []
    for shard_size, count in STUB_RUNS:
        names = Path(folder) / f"{count}.txt"
        names.write_text("".join(f"/photos/{index:08}.jpg\n" for index in range(count)))
        arguments = [str(names), f"{names}.out", str(shard_size)]
        seconds.append(float(output([sys.executable, "-c", STUB, *arguments])))
    (small, few), (large, many) = STUB_RUNS[1:]
    row_of_small = (seconds[1] - seconds[0]) / few
    row_of_large = (seconds[2] - seconds[0]) / many
    shard = (row_of_small - row_of_large) / (1 / small - 1 / large)
    return {
        "us_a_row": round(1e6 * (row_of_large - shard / large), 2),
        "ms_a_shard": round(1e3 * shard, 3),
    }


def list_names(folder: Path, count: int) -> dict[str, float]:
    """Seconds until the first of many empty files is listed, and until a hundred have rows."""
    folder.mkdir()
    for index in range(count):
        os.close(os.open(folder / f"{index:08}.jpg", os.O_CREAT))
    first_name = float(output([sys.executable, "-c", FIRST_NAME, str(folder)]))
    out = folder.with_name("names.out")
    begun = perf_counter()
    command = [*BLITZNET, "batch", str(folder), "--out", str(out), "--limit", "100"]
    with subprocess.Popen(command, stdout=sys.stderr) as driver:
        while driver.poll() is None and not list(out.glob("part-*.parquet")):
            sleep(0.05)
        first_row = perf_counter() - begun
    return {
        "count": count,
        "first_name_s": round(first_name, 2),
        "first_row_s": round(first_row, 1),
        "limit_100_s": round(perf_counter() - begun, 1),
    }


def output(command: list[str]) -> str:
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout


def table(result: dict[str, Any]) -> str:
    """Markdown for docs/batch.md, with the number of workers that one driver can feed."""
    predict, batch, driver = result["predict"], result["batch"], result["driver"]
    cores = result["machine"]["cores"]
    rate = batch["images_s"] / cores
    quarter, end = batch["driver_mb_at_a_quarter"], batch["driver_mb_at_the_end"]
    spent = ", ".join(f"{kind} {ms} ms" for kind, ms in batch["processor_ms"].items())
    lines = [
        (f"{result['count']} images, {result['engine']}, {cores} cores", ""),
        ("---", "---"),
        ("`blitznet predict --no-draw`", f"{predict['images_s']} images/s"),
        ("`blitznet batch`", f"{batch['images_s']} images/s, {rate:.1f} per worker"),
        ("ratio", f"{result['ratio']}"),
        ("processor time per image, `predict`", f"{predict['processor_ms']} ms"),
        ("processor time per image, `batch`", spent),
        ("rows with an error", f"{batch['errors']}, all of broken images"),
        ("driver's memory at a quarter, at the end", f"{quarter} MB, {end} MB"),
        ("a million images", f"{1e6 / rate / 3600:.1f} hours of a core"),
        ("driver, per row", f"{driver['us_a_row']} µs"),
        ("driver, per shard", f"{driver['ms_a_shard']} ms"),
    ]
    for size in (10, 100, 1000):
        seconds = driver["us_a_row"] / 1e6 + driver["ms_a_shard"] / 1e3 / size
        workers = 1 / seconds / rate
        lines.append((f"workers that one driver feeds, `--shard-size {size}`", f"{workers:.0f}"))
    names = result.get("names")
    if names:
        times = f"first name {names['first_name_s']} s, first row {names['first_row_s']} s"
        lines.append((f"a folder of {names['count']} files, `--limit 100`", times))
    return "\n".join(f"| {left} | {right} |" for left, right in lines)


if __name__ == "__main__":
    typer.run(main)
