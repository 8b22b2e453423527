"""How fast `blitznet batch` is beside `blitznet predict`, and what its driver costs.

    python benchmarks/batch_speed.py IMAGES --count 20000 --json FILE

IMAGES is a folder of JPEGs, linked as often as needed; one of a hundred is broken. Both commands
see the same files, one after the other; times include starting and loading. A short and a long list
of files that are not there tell what a row costs the driver. Last, a folder of a million empty
files with `--limit 100`.
"""

import json
import os
import shutil
import subprocess
import sys
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
MISSING = (1000, 101_000)  # names in the short and in the long list


def main(
    images: Annotated[Path, typer.Argument(help="Folder of JPEGs.")],
    count: Annotated[int, typer.Option(help="Images to predict; 0 = none.")] = 20_000,
    names: Annotated[int, typer.Option(help="Empty files to list; 0 = none.")] = 1_000_000,
    shard_size: int = 500,
    engine: str = "onnxruntime",
    scratch: Annotated[Path | None, typer.Option(help="Folder for links and results.")] = None,
    json_file: Annotated[Path | None, typer.Option("--json")] = None,
) -> None:
    """Print images a second of both, the driver's memory, and seconds to the first row."""
    with TemporaryDirectory(dir=scratch) as folder:
        result: dict[str, Any] = {}
        if count:
            linked = link_images(images, Path(folder) / "in", count)
            result |= compare(linked, count, engine, shard_size)
            typer.echo(result, err=True)
        result["driver_us_a_row"] = driver_cost(Path(folder))
        if names:
            result |= list_names(Path(folder) / "names", names)
    line = json.dumps({"count": count, "engine": engine, **result, "machine": describe_machine()})
    typer.echo(line)
    if json_file is not None:
        json_file.write_text(line + "\n")


def link_images(images: Path, folder: Path, count: int) -> Path:
    """Hard links, or copies where those cannot be made; every hundredth file is cut short."""
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


def compare(folder: Path, count: int, engine: str, shard_size: int) -> dict[str, Any]:
    out = folder.with_name("out")
    begun = perf_counter()
    subprocess.run(
        [*BLITZNET, "predict", str(folder), "--no-draw", "--engine", engine,
         "--out", str(folder.with_name("predicted"))],
        check=False, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    predict = count / (perf_counter() - begun)
    begun = perf_counter()
    command = [*BLITZNET, "batch", str(folder), "--out", str(out), "--engine", engine,
               "--shard-size", str(shard_size)]  # fmt: skip
    memory = watch(subprocess.Popen(command), out, shard_size)
    batch = count / (perf_counter() - begun)
    rows = dataset.dataset(out).to_table(columns=["id", "error"])
    assert len(set(rows["id"].to_pylist())) == len(rows) == count
    return {
        "predict_images_s": round(predict, 1),
        "batch_images_s": round(batch, 1),
        "ratio": round(batch / predict, 3),
        "errors": count - rows["error"].null_count,
        "driver_mb": memory,
    }


def watch(driver: subprocess.Popen[bytes], out: Path, shard_size: int) -> dict[int, float]:
    """The driver's resident memory in MB, by rows done: at a quarter, a half and at the end."""
    process, memory = psutil.Process(driver.pid), {}
    while driver.poll() is None:
        done = len(list(out.glob("part-*.parquet"))) * shard_size
        try:
            memory[done] = round(process.memory_info().rss / 1e6, 1)
        except psutil.Error:
            break
        sleep(LOOK_SECONDS)
    if driver.wait():
        raise SystemExit("blitznet batch failed")
    last = max(memory)
    return {done: mb for done, mb in memory.items() if done and done % max(1, last // 4) == 0}


def driver_cost(folder: Path) -> float:
    """Microseconds of the driver's processor a row, without starting and loading."""
    seconds = []
    for count in MISSING:
        names = folder / f"{count}.txt"
        names.write_text("".join(f"/missing/{index:08}.jpg\n" for index in range(count)))
        code = (
            "import blitznet, resource;"
            f"blitznet.predict_batch({str(names)!r}, '{names}.out', engine='onnxruntime');"
            "used = resource.getrusage(resource.RUSAGE_SELF);"
            "print(used.ru_utime + used.ru_stime)"
        )
        done = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
        seconds.append(float(done.stdout))
    return round(1e6 * (seconds[1] - seconds[0]) / (MISSING[1] - MISSING[0]), 2)


def list_names(folder: Path, count: int) -> dict[str, float]:
    """Seconds until 100 empty files of many have their rows; of the listing alone, the first."""
    folder.mkdir()
    for index in range(count):
        os.close(os.open(folder / f"{index:08}.jpg", os.O_CREAT))
    code = (
        "from blitznet.cluster.listing import list_items; from time import perf_counter as now;"
        f"start = now(); next(list_items({str(folder)!r})); print(now() - start)"
    )
    listed = subprocess.run([sys.executable, "-c", code], capture_output=True, check=True)
    begun = perf_counter()
    subprocess.run(
        [*BLITZNET, "batch", str(folder), "--out", f"{folder}.out", "--limit", "100"],
        check=True, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    return {
        "first_name_s": round(float(listed.stdout), 2),
        "limit_100_s": round(perf_counter() - begun, 1),
    }


BLITZNET = (sys.executable, "-m", "blitznet")

if __name__ == "__main__":
    typer.run(main)
