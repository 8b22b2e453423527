"""Watch for leaks while predicting thousands of images of various sizes and reading videos.

python tools/soak.py --predictions 10000 --minutes 30

Memory, descriptors and threads of this process are recorded at intervals. The mean of the last
quarter may exceed that of the second by at most 5 %: by then, caches and pools are full.
"""

import json
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import av
import numpy as np
import typer
from rich.progress import track

import blitznet
from blitznet.inference.video.open_video import open_video

GROWTH = 1.05
INTERVAL = 0.5  # seconds between readings; more of them would look like a leak
MAX_SIDE = 320
FRAMES = 12

Reading = dict[str, float]


def read_process() -> Reading:
    """Anonymous memory of this process in MiB, and its numbers of descriptors and threads."""
    lines = Path("/proc/self/status").read_text().splitlines()
    anonymous = next(int(line.split()[1]) for line in lines if line.startswith("RssAnon"))
    return {
        "MiB": anonymous / 1024,
        "descriptors": len(os.listdir("/proc/self/fd")),  # noqa: PTH208 - as many entries as files
        "threads": len(os.listdir("/proc/self/task")),  # noqa: PTH208
    }


def watch(name: str, actions: Iterator[Callable[[], int]]) -> dict[str, object]:
    """Run all actions, and compare early readings with late ones."""
    readings: list[Reading] = []
    start, done = time.monotonic(), 0
    for action in track(actions, name):
        done += action()
        if time.monotonic() - start > INTERVAL * len(readings):
            readings.append(read_process())
    quarter = len(readings) // 4
    early, late = readings[quarter : 2 * quarter], readings[-quarter:]
    means = {
        key: [round(float(np.mean([one[key] for one in part])), 1) for part in (early, late)]
        for key in readings[0]
    }
    return {"of": name, "times": done, "seconds": round(time.monotonic() - start), **means}


def predictions(net: blitznet.Predictor, number: int) -> Iterator[Callable[[], int]]:
    """Yield predictions on noise of various sizes, one or four images at a time."""
    rng = np.random.default_rng(0)

    def predict(count: int) -> int:
        sizes = rng.integers(8, MAX_SIDE, (count, 2)).tolist()
        images = [rng.integers(0, 256, (*size, 3), np.uint8) for size in sizes]
        net.predict(images if count > 1 else images[0], score=0.05)
        return count

    left = number
    while left > 0:
        count = min(4 if rng.random() < 0.2 else 1, left)
        left -= count
        yield lambda count=count: predict(count)  # type: ignore[misc]


def videos(path: Path, seconds: float) -> Iterator[Callable[[], int]]:
    """Yield actions that open a video, read all or some of it, and close it."""

    def read(frames: int) -> int:
        video = open_video(str(path))
        for index, _ in enumerate(video):
            if index == frames:
                break
        video.close()
        return 1

    end, number = time.monotonic() + seconds, 0
    while time.monotonic() < end:
        number += 1
        yield lambda frames=number % (FRAMES + 4): read(frames)  # type: ignore[misc]


def write_video(path: Path) -> Path:
    """Write a video of noise in H.264."""
    rng = np.random.default_rng(0)
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 160, 120, "yuv420p"
        for _ in range(FRAMES):
            pixels = rng.integers(0, 256, (120, 160, 3), np.uint8)
            file.mux(stream.encode(av.VideoFrame.from_ndarray(pixels, format="rgb24")))
        file.mux(stream.encode())
    return path


def main(
    count: Annotated[int, typer.Option("--predictions", min=100, help="Per engine.")] = 10_000,
    minutes: Annotated[float, typer.Option(help="Duration of the video test.")] = 30,
    model: str = "blitznet300-mobile",
    engines: Annotated[str, typer.Option(help="Separated by commas.")] = "onnxruntime,openvino",
) -> None:
    """Print one JSON line per test; exits with 1 if anything grew by more than 5 %."""
    has_grown = False
    for engine in filter(None, engines.split(",")):
        with blitznet.load(model, engine=engine) as net:
            seen = watch(engine, predictions(net, count))
            typer.echo(json.dumps(seen))
            has_grown |= grows(seen)
    if minutes > 0:
        with TemporaryDirectory() as folder:
            path = write_video(Path(folder) / "a.mp4")
            seen = watch("videos", videos(path, 60 * minutes))
            typer.echo(json.dumps(seen))
            has_grown |= grows(seen)
    raise typer.Exit(has_grown)


def grows(seen: dict[str, object]) -> bool:
    """Whether any figure of the last quarter exceeds that of the second by more than 5 %."""
    pairs = [value for value in seen.values() if isinstance(value, list)]
    return any(late > early * GROWTH for early, late in pairs)


if __name__ == "__main__":
    typer.run(main)
