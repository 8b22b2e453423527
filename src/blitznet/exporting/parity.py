"""Compare an exported file with its checkpoint."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import torch
from rich.table import Table

from blitznet.detection.boxes import pairwise_iou
from blitznet.detections import Detections
from blitznet.inference.engines.choose import open_engine
from blitznet.inference.engines.engine import Engine
from blitznet.model_files import ExportInfo, FilePrecision

# An object of the file is the same as the reference's, or at least found, within these limits.
SAME_IOU, SAME_SCORE = 0.9, 0.01
FOUND_IOU = 0.5

# Minimum scores: of objects that users see by default, and of nearly all that count for mAP.
SHOWN_SCORE, WEAK_SCORE = 0.5, 0.05

_BATCH = 4


@dataclass(frozen=True)
class Matched:
    """Number of objects of the reference, and how many of them the file finds, too.

    Attributes:
        score: minimum score of the objects that are counted.
        objects: number of objects of the reference.
        same: how many of them the file has with the same class, an IoU above SAME_IOU and a score
            within SAME_SCORE.
        found: how many of them it has with the same class and an IoU above FOUND_IOU.
    """

    score: float
    objects: int
    same: int
    found: int


@dataclass(frozen=True)
class Parity:
    """Result of comparing a file with its reference.

    Attributes:
        images: number of images.
        matched: for SHOWN_SCORE and WEAK_SCORE; empty if the network does not detect.
        same_pixels: share of pixels with the same class, at the network's resolution; None if it
            does not segment.
        largest_difference: maximum over the segmentation logits; None if it does not segment.
        metrics: mAP and mIoU by name, (reference, file) as fractions; empty if not measured.
    """

    images: int
    matched: tuple[Matched, ...]
    same_pixels: float | None
    largest_difference: float | None
    metrics: dict[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class Tolerance:
    """Differences that a file may have from its reference.

    Attributes:
        same: minimum share of objects above WEAK_SCORE that are the same; 0 = any.
        found: minimum share of objects above SHOWN_SCORE that are found.
        pixels: minimum share of pixels with the same class.
        metric: maximum loss of mAP or mIoU, fraction.
    """

    same: float
    found: float
    pixels: float
    metric: float


# Float32 differs only by the order of sums. The loss through int8 depends on the network, and only
# metrics tell whether it matters; without metrics, the limits catch a file that loses its objects.
TOLERANCES: dict[FilePrecision, Tolerance] = {
    "fp32": Tolerance(same=0.99, found=0.99, pixels=0.999, metric=0.001),
    "fp16": Tolerance(same=0.0, found=0.95, pixels=0.98, metric=0.005),
    "int8": Tolerance(same=0.0, found=0.8, pixels=0.95, metric=0.005),
}


def compare_file(path: Path, reference: Engine, images: Sequence[np.ndarray]) -> Parity:
    """Run a file and its reference on the same images.

    Args:
        path: path of the file.
        reference: the network in PyTorch, float32.
        images: (S, S, 3) uint8 each.
    """
    exported = open_engine(path, "openvino" if path.suffix == ".xml" else "onnxruntime", "cpu")
    assert isinstance(exported.info, ExportInfo)
    minimum = exported.info.score
    wanted: list[Detections] = []
    given: list[Detections] = []
    maps: list[tuple[np.ndarray, np.ndarray]] = []
    for start in range(0, len(images), _BATCH):
        pixels = np.stack(images[start : start + _BATCH])
        one, other = reference.run(pixels, minimum), exported.run(pixels, minimum)
        wanted += one.detections or []
        given += other.detections or []
        if one.seg_logits is not None and other.seg_logits is not None:
            maps.append((one.seg_logits, other.seg_logits))
    exported.close()
    # Rounding may push an object at the file's own threshold below it.
    scores = [max(score, minimum + 0.01) for score in (SHOWN_SCORE, WEAK_SCORE)]
    return Parity(
        images=len(images),
        matched=tuple(match_objects(wanted, given, score) for score in scores) if wanted else (),
        same_pixels=same_pixel_share(maps),
        largest_difference=max((float(np.abs(a - b).max()) for a, b in maps), default=None),
    )


def match_objects(
    reference: Sequence[Detections], exported: Sequence[Detections], score: float
) -> Matched:
    """Match every object of the reference with one of the file, image by image.

    An object of the file matches at most one of the reference; the best scores choose first.
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


def _pair(overlap: np.ndarray, minimum: float) -> int:
    """Count the rows of (N, M) that get a column above `minimum` to themselves, in order."""
    pairs = 0
    for row in overlap if overlap.shape[1] else ():
        best = row.argmax()
        if row[best] > minimum:
            overlap[:, best] = 0
            pairs += 1
    return pairs


def same_pixel_share(pairs: Iterable[tuple[np.ndarray, np.ndarray]]) -> float | None:
    """Share of pixels with the same class in reference and file, from (B, C, h, w) logits."""
    shares = [float(np.mean(one.argmax(axis=1) == other.argmax(axis=1))) for one, other in pairs]
    return float(np.mean(shares)) if shares else None


def problems(parity: Parity, tolerance: Tolerance) -> list[str]:
    """List the differences beyond the tolerance; empty if the file passes."""
    found = []
    if parity.largest_difference is not None and not np.isfinite(parity.largest_difference):
        found.append("the segmentation logits are not finite")
    if parity.matched:
        shown, weak = parity.matched
        for matched, count, share, word in (
            (shown, shown.found, tolerance.found, "found"),
            (weak, weak.same, tolerance.same, "the same"),
        ):
            if count < share * matched.objects:
                found.append(
                    f"{count} of {matched.objects} objects of score {matched.score:g} or more are "
                    f"{word}, wanted {share:.1%}"
                )
    if parity.same_pixels is not None and parity.same_pixels < tolerance.pixels:
        found.append(
            f"{parity.same_pixels:.2%} of the pixels are the same, wanted {tolerance.pixels:.2%}"
        )
    for name, (reference, exported) in parity.metrics.items():
        if reference - exported > tolerance.metric:
            found.append(
                f"{name} falls from {100 * reference:.2f} to {100 * exported:.2f}, "
                f"by more than {100 * tolerance.metric:g} points"
            )
    return found


def parity_table(parity: Parity) -> Table:
    """Format the comparison for a terminal."""
    table = Table("", title=f"File compared with checkpoint, {parity.images} images")
    for column in ("checkpoint", "file", "difference"):
        table.add_column(column, justify="right")
    for matched in parity.matched:
        of, count = f"objects from {matched.score:g}", str(matched.objects)
        for word, kept in (("the same", matched.same), ("found", matched.found)):
            table.add_row(f"{of}: {word}", count, str(kept), str(kept - matched.objects))
    if parity.same_pixels is not None:
        table.add_row("pixels of the same class", "", f"{parity.same_pixels:.3%}", "")
        table.add_row("segmentation logits, largest", "", "", f"{parity.largest_difference:.2g}")
    table.add_section()
    for name, (reference, exported) in parity.metrics.items():
        difference = f"{100 * (exported - reference):+.2f}"
        table.add_row(name, f"{100 * reference:.2f}", f"{100 * exported:.2f}", difference)
    return table
