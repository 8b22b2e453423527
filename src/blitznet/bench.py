"""Benchmark a network on this machine: every engine, stage by stage, in rounds.

Does not need PyTorch. benchmarks/race.py times other networks with the same functions.
"""

import json
import platform
import re
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from io import BytesIO
from itertools import cycle, islice
from pathlib import Path
from time import perf_counter
from typing import TYPE_CHECKING

import numpy as np
from PIL import Image

from blitznet.cpu import usable_cores
from blitznet.errors import InputError, require_numbers
from blitznet.evenly_spaced import evenly_spaced
from blitznet.image import read_image, resize_to_input
from blitznet.inference.engines.choose import engines_here, open_engine
from blitznet.inference.engines.engine import Engine, OnMessage
from blitznet.inference.selection import Selection, Selector
from blitznet.inference.sources import is_image
from blitznet.model_files import find_network

if TYPE_CHECKING:
    from rich.table import Table

# What each stage's time includes.
STAGES = {
    "resize": "from the decoded image to the network's input",
    "network": "from there to boxes in input pixels and segmentation logits, including NMS",
    "post": "from there to boxes and the segmentation map in image pixels",
}
MAX_IMAGES = 16
_PACKAGES = ("blitznet", "numpy", "pillow", "onnxruntime", "openvino", "torch", "torchvision")

Seconds = dict[str, float]  # by stage
Predict = Callable[[Sequence[Image.Image]], Seconds]  # processes decoded images as one batch


@dataclass(frozen=True)
class BenchRow:
    """Speed of one network on one engine; medians in milliseconds per image, see STAGES.

    Attributes:
        batch: images per call.
        p95_ms: 95th percentile of the total.
        fps: images per second, from the median total.
        images: number of images timed.
    """

    network: str
    engine: str
    batch: int
    resize_ms: float
    network_ms: float
    post_ms: float
    total_ms: float
    p95_ms: float
    fps: float
    images: int


@dataclass(frozen=True)
class Speeds:
    """Results of one `bench` run.

    Attributes:
        machine: see `describe_machine`.
        data: the folder of images, or `drawn`.
        decode_ms: median time to decode an image file; not included in the rows.
        rows: fastest first.
        left_out: engines that could not run, and why.
    """

    machine: Mapping[str, object]
    data: str
    decode_ms: float
    score: float
    rounds: int
    seconds: float
    rows: tuple[BenchRow, ...]
    left_out: Mapping[str, str]

    def to_json(self) -> str:
        """Convert to one line of JSON."""
        return json.dumps(asdict(self) | {"stages": STAGES})


def bench(
    model: str | None = None,
    engines: Sequence[str] | None = None,
    *,
    images: Path | None = None,
    score: float = 0.5,
    batch: int = 1,
    rounds: int = 3,
    seconds: float = 3.0,
    device: str = "auto",
    on_message: OnMessage | None = None,
) -> Speeds:
    """Time a network on the engines that are installed.

    Args:
        model: a bundled network's name, a checkpoint, or an exported file; None = the default
            bundled network.
        engines: names; None = all that are installed.
        images: a folder; None = synthetic images. See `load_images`.
        score: minimum score of an object, 0..1.
        batch: images per call.
        rounds: number of rounds; every engine runs once per round.
        seconds: minimum time per engine, over all rounds.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        on_message: receives a line before every step.

    Raises:
        InputError: if the network, engine, device or images do not exist, or no engine can run it.
    """
    require_numbers(0, seconds=seconds)
    require_numbers(0, 1, score=score)
    require_numbers(1, batch=batch, rounds=rounds)
    on_message = on_message or (lambda _: None)
    find_network(model)
    decoded, decode_ms = load_images(images)
    left_out: dict[str, str] = {}
    opened: dict[str, Engine] = {}
    for name in engines or engines_here(device):
        on_message(f"opening {name}")
        try:
            opened[name] = open_engine(model, name, device)
        except InputError as error:
            left_out[name] = str(error)
    if not opened:
        raise InputError(f"no engine can run this network: {next(iter(left_out.values()))}")
    predictors = {name: predict_with(engine, score) for name, engine in opened.items()}
    samples = take_turns(predictors, decoded, batch, rounds, seconds, on_message)
    rows = []
    for name, engine in opened.items():
        rows.append(make_row(engine.info.model.name, name, batch, samples[name]))
        engine.close()
    return Speeds(
        machine=describe_machine(device),
        data=str(images) if images is not None else "drawn",
        decode_ms=decode_ms,
        score=score,
        rounds=rounds,
        seconds=seconds,
        rows=tuple(sorted(rows, key=lambda row: -row.fps)),
        left_out=left_out,
    )


def predict_with(engine: Engine, score: float) -> Predict:
    """Wrap an engine: decoded images in, boxes and segmentation maps at image size out, timed."""
    size, selector = engine.info.model.image_size, Selector(engine.info, Selection(score))

    def predict(images: Sequence[Image.Image]) -> Seconds:
        start = perf_counter()
        pixels = np.stack([resize_to_input(image, size) for image in images])
        resized = perf_counter()
        output = engine.run(pixels, score)
        network = perf_counter()
        for index, image in enumerate(images):
            selector.apply(output, index, *image.size)
        end = perf_counter()
        return {"resize": resized - start, "network": network - resized, "post": end - network}

    return predict


def take_turns(
    predictors: Mapping[str, Predict],
    images: Sequence[Image.Image],
    batch: int,
    rounds: int,
    seconds: float,
    on_message: OnMessage,
) -> dict[str, list[Seconds]]:
    """Time each predictor in every round, rotating the order so that noise affects all equally.

    The first call of a turn is a warm-up and does not count. `images` are cycled through; the other
    arguments are the same as for `bench`.
    """
    samples: dict[str, list[Seconds]] = {name: [] for name in predictors}
    names, endless = list(predictors), cycle(images)
    for number in range(rounds):
        first = number % len(names)
        for name in names[first:] + names[:first]:
            on_message(f"measuring {name}, round {number + 1} of {rounds}")
            predictors[name](list(islice(endless, batch)))
            end = perf_counter() + seconds / rounds
            while not samples[name] or perf_counter() < end:
                samples[name].append(predictors[name](list(islice(endless, batch))))
    return samples


def make_row(network: str, engine: str, batch: int, samples: Sequence[Seconds]) -> BenchRow:
    """Summarise the samples from `take_turns` by their medians."""
    times = 1000 / batch * np.array([[one[stage] for stage in STAGES] for one in samples])
    total = times.sum(axis=1)
    resize, forward, post = np.median(times, axis=0).tolist()
    median, p95 = np.quantile(total, (0.5, 0.95)).tolist()
    images = batch * len(samples)
    return BenchRow(
        network, engine, batch, resize, forward, post, median, p95, 1000 / median, images
    )


def load_images(folder: Path | None, count: int = MAX_IMAGES) -> tuple[list[Image.Image], float]:
    """Load images, and measure the median time to decode one, in milliseconds.

    Args:
        folder: source of up to `count` files, evenly spaced by name; None = synthetic JPEGs of
            500x375 pixels, the same in every call.
        count: maximum number of images.

    Raises:
        InputError: if the folder has no images.
    """
    sources: list[Path | Image.Image]
    if folder is None:
        sources = [Image.open(_draw_jpeg(index)) for index in range(count)]
    else:
        files = sorted(filter(is_image, folder.glob("*")))
        sources = [files[index] for index in evenly_spaced(len(files), count)]
    if not sources:
        raise InputError(f"{folder}: no folder with images")
    images, seconds = [], []
    for source in sources:
        start = perf_counter()
        images.append(read_image(source))
        seconds.append(perf_counter() - start)
    return images, 1000 * float(np.median(seconds))


def _draw_jpeg(seed: int) -> BytesIO:
    """Draw coarse and fine noise, which takes about as long to decode as a photo."""
    rng, stream = np.random.default_rng(seed), BytesIO()
    coarse, fine = (rng.integers(0, 256, (*size, 3), np.uint8) for size in ((12, 16), (375, 500)))
    blurred = Image.fromarray(coarse).resize((500, 375))
    Image.blend(blurred, Image.fromarray(fine), 0.2).save(stream, "JPEG", quality=90)
    return stream


def describe_machine(device: str = "auto") -> dict[str, object]:
    """Device, CPU, cores, system and versions; a GPU is named only if PyTorch is loaded."""
    cpuinfo = Path("/proc/cpuinfo")
    text = cpuinfo.read_text(errors="replace") if cpuinfo.is_file() else ""
    found = re.search(r"^model name\s*:\s*(.*)$", text, re.MULTILINE)
    cpu = found[1] if found else platform.processor() or platform.machine()
    torch = sys.modules.get("torch")
    has_gpu = device != "cpu" and torch is not None and torch.cuda.is_available()
    versions = {"python": platform.python_version()}
    for package in _PACKAGES:
        with suppress(PackageNotFoundError):
            versions[package] = version(package)
    return {
        "device": torch.cuda.get_device_name() if torch is not None and has_gpu else cpu,
        "cpu": cpu,
        "cores": usable_cores(),
        "system": f"{platform.system()} {platform.machine()}",
        "versions": versions,
    }


def speed_table(speeds: Speeds) -> "Table":
    """Format the results for a terminal, in milliseconds per image."""
    from rich.table import Table

    left_out = "".join(f"Left out: {name} ({why}).\n" for name, why in speeds.left_out.items())
    stages = "".join(f"{name}: {meaning}.\n" for name, meaning in STAGES.items())
    table = Table(
        title=f"Speed on {speeds.machine['device']}, {speeds.machine['cores']} cores",
        caption=f"Medians in ms per image over {speeds.rounds} rounds; images: {speeds.data}; "
        f"objects from score {speeds.score:g}; decoding a file takes {speeds.decode_ms:.1f} ms "
        f"more.\n{stages}{left_out}",
        caption_justify="left",
    )
    for title in ("network", "engine"):
        table.add_column(title, no_wrap=True)
    for title in ("batch", *STAGES, "total", "p95", "images/s"):
        table.add_column(title, justify="right")
    for row in speeds.rows:
        times = (row.resize_ms, row.network_ms, row.post_ms, row.total_ms, row.p95_ms, row.fps)
        figures = (f"{figure:.1f}" if figure < 100 else f"{figure:.0f}" for figure in times)
        table.add_row(row.network, row.engine, str(row.batch), *figures)
    return table
