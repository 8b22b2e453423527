"""Compare our augmentation with torchvision's transforms on one thread, and time our data loader.

    python benchmarks/data_loading.py --data data/voc-subset.yaml --images 64 --rounds 5 --json FILE

Both apply SSD's policy; docs/bench_data.md says what the timings include.
"""

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from time import perf_counter, process_time
from typing import Annotated, Any

import numpy as np
import torch
import typer
from numpy.random import Generator
from PIL import Image

from blitznet.bench import describe_machine, take_turns
from blitznet.data.description import read_description
from blitznet.data.geometry import view_image, view_labels
from blitznet.data.loader import TrainingSamples, batch_positions, collate_samples, prepare_ahead
from blitznet.data.photometric import apply_colour_map, draw_distortion, mean_colour
from blitznet.data.source import LabelSource
from blitznet.data.ssd_policy import MIN_BOX_SIDE, Augmentation, draw_view, read_augmented
from blitznet.evenly_spaced import evenly_spaced
from blitznet.structures import Sample
from torchvision_policy import build_policy, faster_decoder, read_tv_sample, to_tv_sample

BATCH = 16
AUGMENT, FILES = "augment", "read, decode, augment"


def main(
    data: Annotated[Path, typer.Option(help="Data description.")],
    split: str = "train",
    images: Annotated[int, typer.Option(help="Images, spread over the first source.")] = 64,
    size: Annotated[int, typer.Option(help="Side of the input, pixels.")] = 300,
    rounds: int = 5,
    workers: Annotated[int, typer.Option(help="Data-loading processes.")] = 2,
    json_file: Annotated[Path | None, typer.Option("--json")] = None,
) -> None:
    """Print CPU milliseconds per image of both, and images per second of our data loader."""
    whole = read_description(data).open_split(split)[0]
    source = whole.subset(evenly_spaced(len(whole), images))
    result = measure(source, size, rounds, workers)
    for name, ms in result["cpu_ms"].items():
        typer.echo(f"{name:60} {ms['median']:6.2f} ({ms['min']:.2f}, {ms['max']:.2f})")
    typer.echo(f"data loader, {workers} workers: {result['loader_images_per_second']:.0f} images/s")
    line = json.dumps({"data": f"{data}, {split}", **result, "machine": describe_machine("cpu")})
    typer.echo(line)
    if json_file is not None:
        json_file.write_text(line + "\n")


def measure(source: LabelSource, size: int, rounds: int, workers: int) -> dict[str, Any]:
    """CPU milliseconds per image by pipeline: median, minimum and maximum over the rounds."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    indices = list(range(len(source)))
    looks = {name: clock(work) for name, work in pipelines(source, size).items()}
    per_round: dict[str, list[float]] = {name: [] for name in looks}
    for _ in range(rounds):
        samples = take_turns(looks, [indices], 1, 1, 0, lambda line: typer.echo(line, err=True))
        for name, (sample,) in samples.items():
            per_round[name].append(1000 * sample["cpu"] / len(source))
    return {
        "images": len(source),
        "size": size,
        "rounds": rounds,
        "cpu_ms": {
            name: {"median": float(np.median(ms)), "min": min(ms), "max": max(ms)}
            for name, ms in per_round.items()
        },
        "loader_images_per_second": loader_speed(source, size, workers, rounds),
    }


def clock(work: Callable[[int], object]) -> Callable[[list[list[int]]], dict[str, float]]:
    """Time all images in CPU seconds of this process, so that a busy machine has no influence."""

    def look(batches: list[list[int]]) -> dict[str, float]:
        start = process_time()
        for index in batches[0]:
            work(index)
        return {"cpu": process_time() - start}

    return look


def augment(sample: Sample, size: int, augmentation: Augmentation, rng: Generator) -> Sample:
    """Same as `read_augmented`, for an image that is already decoded."""
    view = draw_view(sample.size, sample.boxes, augmentation, rng)
    image = view_image(Image.fromarray(sample.image), sample.size, view, size)
    image = apply_colour_map(image, draw_distortion(mean_colour(image), rng))
    return view_labels(replace(sample, image=np.asarray(image)), view, size, MIN_BOX_SIDE)


def pipelines(source: LabelSource, size: int) -> dict[str, Callable[[int], object]]:
    """The pipelines of both, as functions of an image's index."""
    samples = [source.read(index) for index in range(len(source))]
    tv_samples = [to_tv_sample(sample) for sample in samples]
    policy, policy_last = build_policy(size), build_policy(size, colours="last")
    decode = faster_decoder([sample.source for sample in samples])
    augmentation, rng = Augmentation(), np.random.default_rng(0)
    return {
        f"blitznet: {AUGMENT}": lambda i: augment(samples[i], size, augmentation, rng),
        f"torchvision: {AUGMENT}": lambda i: policy(tv_samples[i]),
        f"torchvision, colours last: {AUGMENT}": lambda i: policy_last(tv_samples[i]),
        f"blitznet: {FILES}": lambda i: read_augmented(
            source.labels(i), source.table, size, augmentation, rng
        ),
        f"torchvision, {decode.__name__}: {FILES}": lambda i: policy(
            read_tv_sample(source, i, decode)
        ),
    }


def loader_speed(source: LabelSource, size: int, workers: int, rounds: int) -> float:
    """Images per second of wall time, after two batches per worker of warm-up."""
    warm_up, batches = 2 * max(workers, 1), max(rounds * len(source) // BATCH, 8)
    samples = TrainingSamples([source], size, Augmentation(), seed=0)
    positions = batch_positions(0, warm_up + batches, BATCH, 0, 1)
    steps = prepare_ahead(samples, positions, collate_samples, workers)
    for _ in range(warm_up):
        next(steps)
    start = perf_counter()
    return sum(len(batch.sources) for batch in steps) / (perf_counter() - start)


if __name__ == "__main__":
    typer.run(main)
