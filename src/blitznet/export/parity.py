"""How near an exported file comes to the checkpoint that it was made from."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import torch
from rich.table import Table

from blitznet.boxes import pairwise_iou
from blitznet.detections import Detections
from blitznet.model_files import Precision

# Of every reference object: what the file must give for it to be the same, or the same thing.
SAME_IOU, SAME_SCORE = 0.9, 0.01
FOUND_IOU = 0.5

# Objects that a user sees by default, and nearly all that count for mAP.
SHOWN_SCORE, WEAK_SCORE = 0.5, 0.05


@dataclass(frozen=True)
class Matched:
    """Objects of the reference, and how many of them the file gives, too.

    Attributes:
        score: least score of the objects that were counted.
        objects: of the reference.
        same: of them, those for which the file has one of the same class with an IoU above
            SAME_IOU and a score within SAME_SCORE.
        found: those for which it has one of the same class with an IoU above FOUND_IOU.
    """

    score: float
    objects: int
    same: int
    found: int


@dataclass(frozen=True)
class RawDifference:
    """Of one raw output.

    Attributes:
        largest: absolute difference of any number.
        mean: absolute difference.
        reach: largest absolute number of the reference.
    """

    largest: float
    mean: float
    reach: float


@dataclass(frozen=True)
class Parity:
    """All that was compared.

    Attributes:
        pictures: whose raw outputs, objects and pixels were compared.
        raw: by name of the output.
        matched: for SHOWN_SCORE and WEAK_SCORE; empty for a network that does not detect.
        same_pixels: share with the same class at the network's own resolution; None for a network
            that does not segment.
        metrics: mAP and mIoU by name, reference and file, fractions; empty if nothing was measured.
    """

    pictures: int
    raw: dict[str, RawDifference]
    matched: tuple[Matched, ...]
    same_pixels: float | None
    metrics: dict[str, tuple[float, float]]

    def to_dict(self) -> dict[str, Any]:
        """For JSON."""
        return asdict(self)


@dataclass(frozen=True)
class Tolerance:
    """What a file may differ in, and still be the same network.

    Attributes:
        same: least share of objects above WEAK_SCORE that are the same; 0 = any.
        found: least share of objects above SHOWN_SCORE that are found.
        pixels: least share of pixels with the same class.
        metric: most that mAP or mIoU may lose, fraction.
    """

    same: float
    found: float
    pixels: float
    metric: float


# Float32 differs by the order of sums alone. What eight bits cost depends on the network, and only
# metrics tell whether it matters; without them, a file that lost its objects is to be noticed.
TOLERANCES: dict[Precision, Tolerance] = {
    "fp32": Tolerance(same=0.99, found=0.99, pixels=0.999, metric=0.001),
    "fp16": Tolerance(same=0.0, found=0.95, pixels=0.98, metric=0.005),
    "int8": Tolerance(same=0.0, found=0.8, pixels=0.95, metric=0.005),
}


def compare_raw(
    pairs: Iterable[tuple[Mapping[str, np.ndarray], Mapping[str, np.ndarray]]],
) -> dict[str, RawDifference]:
    """Raw outputs by name, of reference and file, batch by batch."""
    found: dict[str, list[RawDifference]] = {}
    for reference, exported in pairs:
        for name, values in reference.items():
            difference = np.abs(values - exported[name])
            found.setdefault(name, []).append(
                RawDifference(
                    float(difference.max()), float(difference.mean()), float(np.abs(values).max())
                )
            )
    return {
        name: RawDifference(
            largest=max(one.largest for one in batches),
            mean=float(np.mean([one.mean for one in batches])),
            reach=max(one.reach for one in batches),
        )
        for name, batches in found.items()
    }


def match_objects(
    reference: Sequence[Detections], exported: Sequence[Detections], score: float
) -> Matched:
    """Look for every object of the reference among those of the file, picture by picture.

    An object of the file stands for one of the reference at most, the best one first.
    """
    objects = same = found = 0
    for wanted, given in zip(reference, exported, strict=True):
        wanted = Detections(*(values[wanted.scores >= score] for values in wanted))
        objects += len(wanted.labels)
        boxes = torch.from_numpy(wanted.boxes), torch.from_numpy(given.boxes)
        overlap = pairwise_iou(*boxes).numpy() * (wanted.labels[:, None] == given.labels[None])
        is_near = np.abs(wanted.scores[:, None] - given.scores[None]) < SAME_SCORE
        same += _pair(overlap * is_near, SAME_IOU)
        found += _pair(overlap, FOUND_IOU)
    return Matched(score, objects, same, found)


def _pair(overlap: np.ndarray, least: float) -> int:
    """Rows of (N, M) that get a column of their own with more than `least`, earlier rows first."""
    pairs = 0
    for row in range(len(overlap)):
        best = overlap[row].argmax() if overlap.shape[1] else None
        if best is not None and overlap[row, best] > least:
            overlap[:, best] = 0
            pairs += 1
    return pairs


def same_pixel_share(pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> float | None:
    """Of (B, C, h, w) logits of reference and file: pixels of the same class; None without any."""
    shares = [
        float(np.mean(reference.argmax(axis=1) == exported.argmax(axis=1)))
        for reference, exported in pairs
    ]
    return float(np.mean(shares)) if shares else None


def problems(parity: Parity, tolerance: Tolerance) -> list[str]:
    """What a file fails in; empty if it stands for its network."""
    return list(_problems(parity, tolerance))


def _problems(parity: Parity, tolerance: Tolerance) -> Iterator[str]:
    for name, difference in parity.raw.items():
        if not np.isfinite(difference.largest):
            yield f"{name} is not finite"
    if parity.matched:
        shown, weak = parity.matched
        for matched, count, least, word in (
            (shown, shown.found, tolerance.found, "found"),
            (weak, weak.same, tolerance.same, "the same"),
        ):
            if count < least * matched.objects:
                yield (
                    f"{count} of {matched.objects} objects of score {matched.score:g} or more are "
                    f"{word}, wanted {least:.1%}"
                )
    if parity.same_pixels is not None and parity.same_pixels < tolerance.pixels:
        yield f"{parity.same_pixels:.2%} of the pixels are the same, wanted {tolerance.pixels:.2%}"
    for name, (reference, exported) in parity.metrics.items():
        if reference - exported > tolerance.metric:
            yield (
                f"{name} falls from {100 * reference:.2f} to {100 * exported:.2f}, "
                f"allowed are {100 * tolerance.metric:g} points"
            )


def parity_table(parity: Parity) -> Table:
    """For people."""
    table = Table("", title=f"File beside checkpoint, {parity.pictures} pictures")
    for column in ("checkpoint", "file", "difference"):
        table.add_column(column, justify="right")
    for name, raw in parity.raw.items():
        table.add_row(
            f"{name}, largest", f"{raw.reach:.3g}", "", f"{raw.largest:.2g} (mean {raw.mean:.2g})"
        )
    table.add_section()
    for matched in parity.matched:
        of = f"objects from {matched.score:g}"
        lost_same, lost = matched.objects - matched.same, matched.objects - matched.found
        count = str(matched.objects)
        table.add_row(f"{of}: the same", count, str(matched.same), f"{-lost_same or 0}")
        table.add_row(f"{of}: found", count, str(matched.found), f"{-lost or 0}")
    if parity.same_pixels is not None:
        table.add_row("pixels of the same class", "", f"{parity.same_pixels:.3%}", "")
    table.add_section()
    for name, (reference, exported) in parity.metrics.items():
        difference = f"{100 * (exported - reference):+.2f}"
        table.add_row(name, f"{100 * reference:.2f}", f"{100 * exported:.2f}", difference)
    return table
