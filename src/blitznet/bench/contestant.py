"""What takes part in the speed benchmark: a network that looks at decoded pictures."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
from PIL import Image

from blitznet.bench.race import Laps, Milliseconds, Turn, repeat_for
from blitznet.bench.record import Kind, Tasks

# Stages of one look; their clocks are explained in CLOCKS.
PREPROCESS, NETWORK, POSTPROCESS, TOTAL = "preprocess", "network", "postprocess", "total"
DECODE, FILES = "decode", "files"

CLOCKS = {
    DECODE: "from the JPEG file to RGB pixels in memory (Pillow), the same for all, one thread",
    PREPROCESS: "from the decoded picture to the network's input: resize, tensor, device",
    NETWORK: "from the input to raw scores, box deltas and map logits",
    POSTPROCESS: "from these to boxes in pixels of the picture and the class of each of its pixels,"
    " in memory of the CPU",
    TOTAL: "from the decoded picture to boxes and map: all but decoding; pictures a second are"
    " those of its median",
    FILES: "pictures a second from JPEG files to boxes and map, as blitznet predict overlaps"
    " decoding, network and the rest, OpenVINO with its throughput hint, which all other clocks"
    " do without; nothing is drawn or written",
}


class Found(NamedTuple):
    """What was found in one picture, on the CPU; None for what the network does not do.

    Attributes:
        boxes: (K, 4) float32 xyxy in pixels of the picture.
        labels: (K,) int64.
        scores: (K,) float32.
        seg_map: (H, W) uint8 class ids at the picture's size.
    """

    boxes: np.ndarray | None
    labels: np.ndarray | None
    scores: np.ndarray | None
    seg_map: np.ndarray | None


Look = Callable[[Sequence[Image.Image], Laps], list[Found]]


@dataclass(frozen=True)
class Entry:
    """Who takes part, so that another process can open it, too.

    Attributes:
        network: name for the table.
        kind: whose it is.
        runtime: that runs it.
        batch: pictures a call.
        files: checkpoints of ours, one or one for each task; empty for a peer.
        trained: whether these are.
    """

    network: str
    kind: Kind
    runtime: str
    batch: int
    files: tuple[Path, ...] = ()
    trained: bool = False


@dataclass(frozen=True)
class Contestant:
    """An opened entry.

    Attributes:
        look: at as many pictures as the entry's batch says; ends every stage on the clock.
        tasks, input_size, anchors, parameters, gflops: see `SpeedRow`.
        stream: takes files and gives a result for each, overlapped; None for peers.
    """

    look: Look
    tasks: Tasks
    input_size: int
    anchors: int | None
    parameters: int
    gflops: float | None
    stream: Callable[[Iterable[Path]], Iterator[object]] | None = None


def look_turn(
    look: Look,
    images: Sequence[Image.Image],
    batch: int,
    synchronize: Callable[[], None] | None,
) -> Turn:
    """A turn that shows all pictures over and over again, `batch` at a time.

    Where the device must be waited for at the end of a stage, which slows the whole, stages and
    total are measured in calls that alternate.
    """
    done = 0

    def one() -> Milliseconds:
        nonlocal done
        group = [images[(done * batch + i) % len(images)] for i in range(batch)]
        of_stages = synchronize is None or done % 2 == 1
        laps = Laps(synchronize if of_stages else None)
        look(group, laps)
        done += 1
        times = laps.milliseconds(batch)
        if synchronize is None:
            return times
        if of_stages:
            return {stage: time for stage, time in times.items() if stage != TOTAL}
        return {TOTAL: times[TOTAL]}

    def turn(seconds: float) -> list[Milliseconds]:
        samples = repeat_for(one, seconds)
        return samples if synchronize is None or len(samples) > 1 else [*samples, one()]

    return turn


def files_turn(
    stream: Callable[[Iterable[Path]], Iterator[object]],
    files: Sequence[Path],
    ahead: int,
) -> Turn:
    """A turn that takes results from a stream that never ends.

    Args:
        stream: of the contestant.
        files: given to it over and over again.
        ahead: how many pictures may be under way while nobody takes one; as many results are taken
            before the clock starts, and work done between two turns is not counted.
    """
    results = stream(_endless(files))

    def several() -> Milliseconds:
        laps = Laps()
        for _ in range(ahead):
            next(results)
        laps.end(FILES)
        return laps.milliseconds(ahead)

    def turn(seconds: float) -> list[Milliseconds]:
        for _ in range(ahead):
            next(results)
        return repeat_for(several, seconds)

    return turn


def _endless(files: Sequence[Path]) -> Iterator[Path]:
    while True:
        yield from files
