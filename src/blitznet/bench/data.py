"""`blitznet bench data`: our input pipeline beside torchvision's, per core, and our data loader."""

import platform
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

import numpy as np
import PIL
import torch
import torchvision
from rich.table import Table

from blitznet.bench.drawn_pictures import DrawnSource
from blitznet.bench.timing import Rival, time_in_turns
from blitznet.bench.torchvision_policy import (
    build_policy,
    faster_decoder,
    read_tv_sample,
    to_tv_sample,
)
from blitznet.data.description import read_description
from blitznet.data.loader import TrainingSamples, batch_positions, training_batches
from blitznet.data.source import LabelSource, Subset
from blitznet.data.ssd_policy import Augmentation, augment_sample, read_augmented

LOADER_BATCH = 16

# What is inside the clock.
_DECODED = "augment"
_FILES = "read, decode, augment"
_CLOCKS = {
    _DECODED: "from the decoded picture, boxes and map to uint8 ones at (S, S)",
    _FILES: "from label file, JPEG and PNG to the same",
}


def bench_data(
    data: Path | None, split: str, pictures: int, size: int, rounds: int, workers: int
) -> dict[str, Any]:
    """Everything that `blitznet bench data` says, for `data_table` and JSON.

    Args:
        data: description; None = drawn pictures of 500x375 pixels.
        split: of it, whose first source is used.
        pictures: how many of its pictures, evenly spread.
        size: S.
        rounds: that count, see `time_in_turns`.
        workers: of the data loader.

    Raises:
        InputError: if the data cannot be read.
    """
    with TemporaryDirectory() as folder, _one_thread():
        if data is None:
            source: LabelSource = DrawnSource(Path(folder), pictures)
        else:
            source = _spread(read_description(data).open_split(split)[0], pictures)
        timings = time_in_turns(_rivals(source, size), len(source), rounds)
        per_second = _loader_speed(source, size, workers, rounds)
    ours, theirs, theirs_last, ours_files, theirs_files = timings
    return {
        "bench": "data",
        "pictures": len(source),
        "data": str(data) if data is not None else "drawn, 500x375",
        "size": size,
        "rounds": rounds,
        "clocks": _CLOCKS,
        "timings": [timing.to_dict() for timing in timings],
        "times_as_fast": {
            "decoded": theirs.cpu_ms / ours.cpu_ms,
            "decoded, colours last": theirs_last.cpu_ms / ours.cpu_ms,
            "files": theirs_files.cpu_ms / ours_files.cpu_ms,
        },
        "loader": {"workers": workers, "batch": LOADER_BATCH, "pictures_per_second": per_second},
        "versions": {
            "python": platform.python_version(),
            "pillow": PIL.__version__,
            "torch": torch.__version__,
            "torchvision": torchvision.__version__,
        },
        "machine": platform.machine(),
    }


def data_table(result: dict[str, Any]) -> Table:
    """What `bench_data` returns, for people."""
    loader, ratios = result["loader"], result["times_as_fast"]
    table = Table(
        "pipeline",
        "inside the clock",
        title=f"Training input at {result['size']} pixels; {result['pictures']} pictures, one core",
        caption=(
            "".join(f"{name}: {meaning}. " for name, meaning in result["clocks"].items())
            + f"Torchvision takes {ratios['decoded']:.1f} times as long without decoding "
            f"({ratios['decoded, colours last']:.1f} with its colours last), "
            f"{ratios['files']:.1f} with it. Median, least and most of {result['rounds']} rounds. "
            f"Our data loader: {loader['pictures_per_second']:.0f} pictures a second "
            f"with {loader['workers']} workers, batches of {loader['batch']}."
        ),
    )
    for name in ("CPU ms a picture", "least", "most", "wall ms"):
        table.add_column(name, justify="right")
    for row in result["timings"]:
        figures = (row[key] for key in ("cpu_ms", "cpu_ms_least", "cpu_ms_most", "wall_ms"))
        table.add_row(row["name"], row["clock"], *(f"{figure:.2f}" for figure in figures))
    return table


def _rivals(source: LabelSource, size: int) -> list[Rival]:
    samples = [source.read(index) for index in range(len(source))]
    tv_samples = [to_tv_sample(sample) for sample in samples]
    policy, policy_last = build_policy(size), build_policy(size, colours="last")
    decode = faster_decoder([sample.source for sample in samples])
    augmentation = Augmentation()

    def ours_decoded(index: int, number: int) -> object:
        rng = np.random.default_rng((number, index))
        return augment_sample(samples[index], size, augmentation, rng)

    def ours_from_files(index: int, number: int) -> object:
        rng = np.random.default_rng((number, index))
        return read_augmented(source.labels(index), source.table, size, augmentation, rng)

    torch.manual_seed(0)
    return [
        Rival("blitznet", _DECODED, ours_decoded),
        Rival("torchvision", _DECODED, lambda index, _: policy(tv_samples[index])),
        Rival("torchvision, colours last", _DECODED, lambda i, _: policy_last(tv_samples[i])),
        Rival("blitznet", _FILES, ours_from_files),
        Rival(
            f"torchvision, {decode.__name__}".replace("_", " "),
            _FILES,
            lambda index, _: policy(read_tv_sample(source, index, decode)),
        ),
    ]


def _loader_speed(source: LabelSource, size: int, workers: int, rounds: int) -> float:
    """Pictures a second on the wall, after the first two batches of every worker."""
    warm_up = 2 * max(workers, 1)
    batches = max(rounds * len(source) // LOADER_BATCH, 8)
    samples = TrainingSamples([source], size, Augmentation(), seed=0)
    steps = training_batches(
        samples, batch_positions(0, warm_up + batches, LOADER_BATCH, 0, 1), workers
    )
    for _ in range(warm_up):
        next(steps)
    start, done = perf_counter(), 0
    for batch in steps:
        done += len(batch.sources)
    return done / (perf_counter() - start)


def _spread(source: LabelSource, count: int) -> LabelSource:
    """`count` of its pictures, evenly spread."""
    chosen = np.linspace(0, len(source) - 1, min(count, len(source))).astype(int)
    return Subset(source, chosen.tolist())


@contextmanager
def _one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)
