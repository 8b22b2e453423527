"""The result of a data check and the statistics of its labels, as text, tables and JSON."""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from rich.table import Table
from rich.text import Text

from blitznet.classes import IGNORE_INDEX
from blitznet.data.check.image_check import ImageRecord
from blitznet.data.labels import Problem
from blitznet.data.source import LabelSource
from blitznet.detection.matcher import MATCHING_IOU
from blitznet.errors import count_of

SHOWN = 5  # findings listed per kind
PLACES_SHOWN = 3  # places listed per finding

# Kinds of problems, in the order of the table.
TITLES = {
    "picture": "images that cannot be read",
    "label-file": "labels that cannot be read",
    "unclaimed": "label files without an image",
    "unknown-class": "unknown classes",
    "box-not-finite": "boxes that are not finite",
    "box-without-area": "boxes without area",
    "box-outside": "boxes beyond the image",
    "box-twice": "duplicate boxes",
    "map": "unusable maps",
    "rotation": "labels that ignore the camera's orientation",
    "same-picture": "the same image twice",
    "other-size": "labels that state another size",
    "not-in-map": "objects that the map does not show",
    "near-duplicate": "images that look the same",
    "empty-picture": "images without an object",
    "tiny-box": "boxes that no anchor matches",
    "class-absent": "classes without labels",
    "split-name": "splits that training does not use",
    "void-maps": "maps with void instead of a class",
    "mostly-void": "maps that are almost all void",
}


OpenSource = tuple[str, int, LabelSource]  # its split, its number there from 1, and the source


class SplitStatistics:
    """Counts over one split.

    Args:
        names: C class names, background first.
        records: records of all images, including those with errors.

    Attributes:
        names: same as the argument.
        counts: numbers of images, of images with boxes, maps or both, and of ignored boxes; by
            their keys in `to_dict`.
        boxes: (C,) int64 number of boxes per class, without ignored ones.
        one_anchor: (C,) int64 number of these that match one anchor only.
        pixels: (256,) int64 number of pixels per map value.
        shapes: (N, 2) float32 width and height of these boxes as fractions of their image's.
        best_iou: (N,) float32 IoU with the best anchor; empty without a model.
    """

    def __init__(self, names: Sequence[str], records: Sequence[ImageRecord]):
        self.names = tuple(names)
        self.counts = {
            "pictures": len(records),
            "pictures_with_boxes": sum(r.has_boxes for r in records),
            "pictures_with_maps": sum(r.pixels is not None for r in records),
            "pictures_with_both": sum(r.has_boxes and r.pixels is not None for r in records),
            "boxes_ignored": sum(r.num_ignored for r in records),
        }
        everything = [ImageRecord("", 0, 0), *records]  # np.concatenate needs at least one array
        labels = np.concatenate([record.labels for record in everything])
        self.shapes = np.concatenate([record.shapes for record in everything])
        self.best_iou = np.concatenate([record.best_iou for record in everything])
        self.boxes = np.bincount(labels, minlength=len(names))
        is_lonely = self.best_iou < MATCHING_IOU
        self.one_anchor = np.bincount(labels[: len(is_lonely)][is_lonely], minlength=len(names))
        self.pixels = np.zeros(256, np.int64)
        for record in records:
            for value, count in (record.pixels or {}).items():
                self.pixels[value] += count

    def absent_classes(self) -> list[str]:
        """Classes without any box or pixel."""
        shown = self.boxes + self.pixels[: len(self.names)]
        return [name for name, count in zip(self.names[1:], shown[1:], strict=True) if not count]

    def pixel_shares(self) -> dict[str, float] | None:
        """Share of the labelled pixels per class; None without maps."""
        labelled = int(self.pixels[:IGNORE_INDEX].sum())
        if not labelled:
            return None
        return dict(zip(self.names, (self.pixels / labelled).tolist(), strict=False))

    def to_dict(self) -> dict[str, Any]:
        """The statistics as JSON values."""
        names, total = self.names[1:], int(self.pixels.sum())
        return {
            **self.counts,
            "boxes": dict(zip(names, self.boxes[1:].tolist(), strict=True)),
            "boxes_with_one_anchor": dict(zip(names, self.one_anchor[1:].tolist(), strict=True)),
            "pixel_shares": self.pixel_shares(),
            "void_share": int(self.pixels[IGNORE_INDEX]) / total if total else None,
        }


@dataclass(frozen=True)
class CheckReport:
    """The result of a check.

    Attributes:
        data: the data description.
        model: network whose anchors the boxes were compared with; None = not compared.
        findings: problems of single images first, then those that involve several.
        statistics: label statistics by split.
        sources: sources of all splits, without those that could not be opened.
    """

    data: str
    model: str | None
    findings: Sequence[Problem]
    statistics: Mapping[str, SplitStatistics]
    sources: Sequence[OpenSource] = ()

    @property
    def errors(self) -> list[Problem]:
        """Findings that would make training fail or teach the network something wrong."""
        return [finding for finding in self.findings if finding.is_error]

    def of_kind(self, kind: str) -> list[Problem]:
        """Findings of one kind, errors first."""
        found = [finding for finding in self.findings if finding.kind == kind]
        return sorted(found, key=lambda finding: not finding.is_error)

    def to_dict(self) -> dict[str, Any]:
        """The report as written by `--json`."""
        return {
            "data": self.data,
            "model": self.model,
            "errors": len(self.errors),
            "warnings": len(self.findings) - len(self.errors),
            "counts": {kind: len(found) for kind in TITLES if (found := self.of_kind(kind))},
            "splits": {split: counts.to_dict() for split, counts in self.statistics.items()},
            "findings": [
                {
                    "kind": finding.kind,
                    "error": finding.is_error,
                    "where": finding.where,
                    "text": finding.text,
                    "split": finding.split,
                    "source": finding.source,
                    "picture": None if finding.index is None else finding.index + 1,
                }
                for finding in self.findings
            ],
        }


def report_lines(report: CheckReport, verbose: bool = False) -> Iterator[str]:
    """Yield a line per finding, errors first, then a summary; `SHOWN` per kind unless verbose.

    Findings of one kind with the same text share a line that lists their first places.
    """
    groups: dict[tuple[bool, str, str], list[str]] = defaultdict(list)
    for finding in sorted(report.findings, key=lambda finding: not finding.is_error):
        groups[finding.is_error, finding.kind, finding.text].append(finding.where)
    shown: Counter[tuple[bool, str]] = Counter()
    for (is_error, kind, text), places in groups.items():
        shown[is_error, kind] += 1
        if verbose or shown[is_error, kind] <= SHOWN:
            yield f"{'error' if is_error else 'warning'}: {_with_places(text, places, verbose)}"
    hidden = 0 if verbose else sum(max(0, count - SHOWN) for count in shown.values())
    if hidden:
        yield f"{count_of(hidden, 'more finding')}; --verbose lists all"
    images = sum(counts.counts["pictures"] for counts in report.statistics.values())
    errors, warned = len(report.errors), len(report.findings) - len(report.errors)
    found = f"{count_of(errors, 'error')}, {count_of(warned, 'warning')}"
    yield f"{count_of(images, 'image')} checked: {found}"


def _with_places(text: str, places: Sequence[str], verbose: bool) -> str:
    """A line such as "a.txt, line 1: what is wrong (and 3 more: b.txt, line 2, ...)"."""
    first, *others = places
    if not others:
        return f"{first}: {text}"
    listed = ", ".join(others if verbose else others[: PLACES_SHOWN - 1])
    dots = "" if verbose or len(others) < PLACES_SHOWN else ", ..."
    return f"{first}: {text} (and {len(others)} more: {listed}{dots})"


def findings_table(report: CheckReport) -> Table:
    """One row per kind of finding: numbers of errors and warnings, and the first place."""
    table = Table("finding")
    table.add_column("errors", justify="right")
    table.add_column("warnings", justify="right")
    table.add_column("first", overflow="fold")
    for kind, title in TITLES.items():
        found = report.of_kind(kind)
        if found:
            errors = sum(finding.is_error for finding in found)
            counts = [str(count or "-") for count in (errors, len(found) - errors)]
            table.add_row(title, *counts, Text(found[0].where))
    return table


def splits_table(report: CheckReport) -> Table:
    """Images per split, then boxes per class and how many of them no anchor fits."""
    table = Table("")
    statistics = list(report.statistics.values())
    for split in report.statistics:
        table.add_column(Text(split), justify="right")
    for title, key in (
        ("images", "pictures"),
        ("with boxes", "pictures_with_boxes"),
        ("with a map", "pictures_with_maps"),
        ("with both", "pictures_with_both"),
        ("boxes ignored", "boxes_ignored"),
    ):
        table.add_row(title, *(str(one.counts[key]) for one in statistics))
    table.add_row("boxes", *(str(one.boxes.sum()) for one in statistics))
    table.add_section()
    names = statistics[0].names if statistics else ()
    for index, name in enumerate(names[1:], start=1):
        table.add_row(Text(name), *(_class_cell(counts, index) for counts in statistics))
    if report.model:
        table.caption = (
            f"per class: boxes (and those that no anchor of {report.model} fits), share of pixels"
        )
    return table


def _class_cell(counts: SplitStatistics, index: int) -> str:
    text = str(counts.boxes[index])
    if counts.one_anchor[index]:
        text += f" ({counts.one_anchor[index]})"
    shares = counts.pixel_shares()
    return text if shares is None else f"{text} {100 * shares[counts.names[index]]:5.1f} %"
