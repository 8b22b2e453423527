"""`blitznet bench`: networks, runtimes and peers on the same pictures in one run."""

import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np
import torch
from PIL import Image

from blitznet.bench.contestant import (
    CLOCKS,
    DECODE,
    FILES,
    NETWORK,
    POSTPROCESS,
    PREPROCESS,
    TOTAL,
    Contestant,
    Entry,
    files_turn,
    look_turn,
)
from blitznet.bench.drawn_pictures import DrawnSource
from blitznet.bench.machine import describe_machine, synchronizer
from blitznet.bench.memory import peak_memory_mib
from blitznet.bench.opening import Openings, find_networks, list_entries
from blitznet.bench.peers import PEERS, REFERENCE
from blitznet.bench.race import Laps, Milliseconds, Turn, repeat_for, spread, take_turns
from blitznet.bench.record import Machine, SpeedRecord, SpeedRow
from blitznet.cache import CACHE_VARIABLE
from blitznet.data.description import read_description
from blitznet.device import choose_device
from blitznet.errors import InputError
from blitznet.image import read_picture
from blitznet.inference.engines.choose import FASTEST, RUNTIMES, runtimes_here
from blitznet.progress import tell_stage, with_progress

NETWORKS = ("blitznet300", "blitznet300-s8", "blitznet300-mobile")

_MOST_PICTURES_COUNTED = 2


@dataclass(frozen=True)
class SpeedOptions:
    """What `blitznet bench` is asked for.

    Attributes:
        networks: of ours, see `find_networks`.
        runtimes: None = all that are here, apart from those that take minutes to open.
        batches: pictures a call.
        peers: names of PEERS.
        data: description of pictures; None = drawn ones.
        split: of it.
        pictures: how many, evenly spread.
        score: least score of a box.
        device: as `choose_device` takes it.
        seconds: that each takes for each of its clocks, over all rounds.
        rounds: that count.
        memory: whether to measure it, which opens everything once more in a process of its own.
    """

    networks: tuple[str, ...] = NETWORKS
    runtimes: tuple[str, ...] | None = None
    batches: tuple[int, ...] = (1, 8)
    peers: tuple[str, ...] = tuple(PEERS)
    data: Path | None = None
    split: str = "val"
    pictures: int = 16
    score: float = 0.01
    device: str = "auto"
    seconds: float = 2.0
    rounds: int = 4
    memory: bool = True


# About a minute: one small network, two peers.
QUICK = SpeedOptions(
    networks=("blitznet300-mobile",),
    batches=(1,),
    peers=(REFERENCE, "torchvision lraspp_mobilenet_v3_large"),
    seconds=0.5,
    rounds=3,
    memory=False,
)


def bench_speed(options: SpeedOptions) -> SpeedRecord:
    """Measure everything that `SpeedRecord` holds.

    Raises:
        InputError: for a network, runtime, peer, device or data that does not exist.
    """
    device = choose_device(options.device)
    unknown = [name for name in options.peers if name not in PEERS]
    if unknown:
        raise InputError(f"no peer is called {unknown[0]!r}; there are {', '.join(PEERS)}")
    runtimes, left_out = _choose_runtimes(options.runtimes, device)
    machine = describe_machine(device)
    with TemporaryDirectory() as name, _cache_in(Path(name)):
        folder = Path(name)
        files = _picture_files(options, folder)
        images = [read_picture(file) for file in files]
        networks = find_networks(options.networks, folder, images, options.score)
        entries = list_entries(
            networks,
            runtimes,
            options.batches,
            options.peers,
            # Large batches of slow networks take minutes on a CPU and gain nothing there.
            options.batches if device.type == "cuda" else options.batches[:1],
            folder,
            _fastest(runtimes, device),
        )
        openings = Openings(images, options.score, device, options.data)
        opened: list[tuple[Entry, Contestant]] = []
        tell_stage(f"blitznet bench: opening {len(entries)} contestants")
        for entry in with_progress(entries, len(entries), "opening"):
            try:
                opened.append((entry, openings.open(entry)))
            except InputError as reason:
                left_out[f"{entry.network} on {entry.runtime}, batch {entry.batch}"] = str(reason)
        if not opened:
            raise InputError(f"nothing can be measured here: {next(iter(left_out.values()))}")
        samples = _race(opened, files, images, device, options)
        memory: list[float | None] = [None] * len(opened)
        if options.memory:
            # After the race, which they would disturb.
            tell_stage(f"blitznet bench: measuring the memory of {len(opened)}")
            measured = (
                peak_memory_mib(e, files, options.score, device, options.data) for e, _ in opened
            )
            memory = list(with_progress(measured, len(opened), "memory"))
        rows = [
            _row(entry, openings.runtime_name(entry), contestant, images, times, mib, machine)
            for (entry, contestant), times, mib in zip(opened, samples[1:], memory, strict=True)
        ]
    width, height = np.mean([image.size for image in images], axis=0)
    return SpeedRecord(
        machine=machine,
        data=f"{options.data}, {options.split}" if options.data else "drawn",
        pictures=len(images),
        picture_size=(round(float(width), 1), round(float(height), 1)),
        score=options.score,
        rounds=options.rounds,
        seconds=options.seconds,
        clocks=CLOCKS,
        decode=spread([sample[DECODE] for sample in samples[0]]),
        reference=REFERENCE,
        left_out=left_out,
        rows=tuple(with_ratios(rows)),
    )


def with_ratios(rows: Sequence[SpeedRow]) -> list[SpeedRow]:
    """The rows with `times_as_fast`, by every runtime of REFERENCE at its smallest batch."""
    reference = [row for row in rows if row.network == REFERENCE]
    batch = min((row.batch for row in reference), default=1)
    fps = {row.runtime: row.fps for row in reference if row.batch == batch}
    return [
        row.model_copy(
            update={"times_as_fast": {name: row.fps / theirs for name, theirs in fps.items()}}
        )
        for row in rows
    ]


def _choose_runtimes(
    asked: tuple[str, ...] | None, device: torch.device
) -> tuple[list[str], dict[str, str]]:
    """Names, and why others are left out."""
    if asked is not None:
        unknown = [name for name in asked if name not in RUNTIMES]
        if unknown:
            raise InputError(
                f"no runtime is called {unknown[0]!r}; there are {', '.join(RUNTIMES)}"
            )
        return list(asked), {}
    here = runtimes_here(device)
    others = [name for name in RUNTIMES if name not in here]
    left_out = dict.fromkeys(others, "not installed, or not for this device")
    for name in list(here):
        reason = _why_not_unasked(name, device)
        if reason is not None:
            here.remove(name)
            left_out[name] = f"{reason}; ask for it with --runtimes"
    return here, left_out


def _why_not_unasked(runtime: str, device: torch.device) -> str | None:
    """Why a runtime takes part only when it is named."""
    if runtime.startswith("torch-compile") and device.type == "cpu":
        return "compiles for minutes on a CPU"
    if runtime.endswith("int8"):
        return "calibrates for minutes, with the pictures of --data"
    return None


def _fastest(runtimes: Sequence[str], device: torch.device) -> str:
    """What `auto` would take of these, or the first."""
    return next((name for name in FASTEST[device.type] if name in runtimes), runtimes[0])


@contextmanager
def _cache_in(folder: Path) -> Iterator[None]:
    """Keep converted networks in a folder that goes away."""
    before = os.environ.get(CACHE_VARIABLE)
    os.environ[CACHE_VARIABLE] = str(folder / "cache")
    try:
        yield
    finally:
        if before is None:
            del os.environ[CACHE_VARIABLE]
        else:
            os.environ[CACHE_VARIABLE] = before


def _picture_files(options: SpeedOptions, folder: Path) -> list[Path]:
    if options.data is None:
        source = DrawnSource(folder, options.pictures)
        return [source.labels(index).picture for index in range(len(source))]
    of_split = read_description(options.data).open_split(options.split)[0]
    chosen = np.linspace(0, len(of_split) - 1, min(options.pictures, len(of_split))).astype(int)
    return [of_split.labels(int(index)).picture for index in chosen]


def _race(
    opened: Sequence[tuple[Entry, Contestant]],
    files: Sequence[Path],
    images: Sequence[Image.Image],
    device: torch.device,
    options: SpeedOptions,
) -> list[list[Milliseconds]]:
    """Samples of the decoding, then of every contestant, its files among them."""
    turns: list[Turn] = [_decode_turn(files)]
    whose = [0]
    for number, (entry, contestant) in enumerate(opened, 1):
        turns.append(look_turn(contestant.look, images, entry.batch, synchronizer(device)))
        whose.append(number)
        # On a CPU a folder is looked at picture by picture, unless asked otherwise.
        is_usual = device.type == "cuda" or entry.batch == options.batches[0]
        if contestant.stream is not None and is_usual:
            ahead = max(3 * entry.batch, 8)
            turns.append(files_turn(contestant.stream, files, ahead))
            whose.append(number)
    samples: list[list[Milliseconds]] = [[] for _ in range(len(opened) + 1)]
    total = (options.rounds + 1) * len(turns)
    tell_stage(
        f"blitznet bench: timing {len(opened)} in {options.rounds + 1} rounds, "
        f"{options.seconds * len(turns) * (options.rounds + 1) / options.rounds / 60:.1f} minutes "
        "or more"
    )
    for which, new in with_progress(
        take_turns(turns, options.rounds, options.seconds), total, "timing"
    ):
        samples[whose[which]] += new
    return samples


def _decode_turn(files: Sequence[Path]) -> Turn:
    numbers = count()

    def one() -> Milliseconds:
        laps = Laps()
        read_picture(files[next(numbers) % len(files)])
        laps.end(DECODE)
        return laps.milliseconds(1)

    return lambda seconds: repeat_for(one, seconds)


def _row(
    entry: Entry,
    runtime: str,
    contestant: Contestant,
    images: Sequence[Image.Image],
    samples: Sequence[Milliseconds],
    memory: float | None,
    machine: Machine,
) -> SpeedRow:
    by_stage = {
        stage: [sample[stage] for sample in samples if stage in sample]
        for stage in (PREPROCESS, NETWORK, POSTPROCESS, TOTAL, FILES)
    }
    looks = [sample for sample in samples if FILES not in sample]
    total, network = spread([s[TOTAL] for s in looks if TOTAL in s]), spread(by_stage[NETWORK])
    share = None
    if machine.peak_tflops is not None and contestant.gflops is not None:
        share = contestant.gflops / network.median / machine.peak_tflops
    return SpeedRow(
        network=entry.network,
        kind=entry.kind,
        tasks=contestant.tasks,
        runtime=runtime,
        batch=entry.batch,
        input_size=contestant.input_size,
        anchors=contestant.anchors,
        parameters=contestant.parameters,
        trained=entry.trained,
        boxes_found=_boxes_found(entry, contestant, images),
        preprocess=spread(by_stage[PREPROCESS]),
        network_ms=network,
        postprocess=spread(by_stage[POSTPROCESS]),
        total=total,
        fps=1000 / total.median,
        files_fps=1000 / spread(by_stage[FILES]).median if by_stage[FILES] else None,
        peak_memory_mib=memory,
        gflops=contestant.gflops,
        share_of_peak=share,
        pictures=len(looks) * entry.batch,
    )


def _boxes_found(
    entry: Entry, contestant: Contestant, images: Sequence[Image.Image]
) -> float | None:
    """Boxes a picture, mean over some."""
    counts = []
    for start in range(0, _MOST_PICTURES_COUNTED, entry.batch):
        group = [images[(start + row) % len(images)] for row in range(entry.batch)]
        counts += [
            len(found.boxes) for found in contestant.look(group, Laps()) if found.boxes is not None
        ]
    return float(np.mean(counts)) if counts else None
