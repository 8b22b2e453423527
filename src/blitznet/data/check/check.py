"""Reads every image and label of a data description and gathers what is wrong."""

import os
from collections import defaultdict
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import DataLoader, Dataset

from blitznet.data.check.duplicates import near_duplicates
from blitznet.data.check.picture_check import AnchorSet, PictureRecord, check_picture
from blitznet.data.check.report import Finding, Report
from blitznet.data.check.statistics import SplitStatistics
from blitznet.data.description import DataDescription
from blitznet.data.labels import Problem
from blitznet.data.source import LabelSource
from blitznet.errors import InputError, LabelError
from blitznet.model_info import ModelConfig
from blitznet.progress import with_progress

TRAIN = "train"


class OpenSource(NamedTuple):
    """One entry of a split, and its number there, from 1."""

    split: str
    number: int
    source: LabelSource


@dataclass(frozen=True)
class OpenData:
    """Some splits of a data description.

    Attributes:
        data: its file.
        names: class names, background first.
        splits: names.
        sources: of all splits, those that could be opened.
        problems: why the others could not.
    """

    data: Path
    names: tuple[str, ...]
    splits: Sequence[str]
    sources: Sequence[OpenSource]
    problems: Sequence[Finding]


@dataclass(frozen=True)
class Picture:
    """What is kept of an image to find it again."""

    split: str
    number: int
    index: int
    path: Path | None
    pixel_hash: bytes | None


def check_data(opened: OpenData, model: ModelConfig | None = None, workers: int = 0) -> Report:
    """Check images and labels, alone and against each other.

    Args:
        opened: what to check.
        model: the network whose anchors boxes are compared with; None = only errors are looked for.
        workers: processes that read; 0 = this one.

    Raises:
        InputError: if a package is missing that the data needs.
    """
    findings = list(opened.problems)
    anchors = AnchorSet.of(model) if model is not None else None
    statistics = {split: SplitStatistics(opened.names) for split in opened.splits}
    pictures: list[Picture] = []
    looks: list[np.ndarray | None] = []
    with closing(read_records(opened.sources, anchors, workers)) as records:
        total = sum(len(one.source) for one in opened.sources)
        for (one, index), record in with_progress(records, total, "pictures"):
            place = one.split, one.number, index
            statistics[one.split].add(record)
            findings += [Finding(problem, *place) for problem in record.problems]
            pictures.append(Picture(*place, record.picture, record.pixel_hash))
            looks.append(record.look)
    findings += find_same_pictures(pictures)
    if model is None:
        findings = [finding for finding in findings if finding.problem.is_error]
    else:
        findings += find_near_duplicates(pictures, looks)
        findings += find_absent_classes(statistics, opened.data)
    return Report(str(opened.data), model.name if model else None, findings, statistics)


def open_data(
    description: DataDescription, data: Path, splits: Sequence[str] | None = None
) -> OpenData:
    """Open what can be opened of some splits.

    Args:
        description: of the data.
        data: its file, for messages.
        splits: names; None = all.

    Raises:
        LabelError: if there is no such split.
    """
    names = list(description.splits if splits is None else dict.fromkeys(splits))
    sources: list[OpenSource] = []
    problems: list[Finding] = []
    for split in names:
        for number, entry in enumerate(description.entries(split), start=1):
            try:
                source = entry.open(description.folder, description.classes)
            except LabelError as error:
                where = f"{data}, {split}, source {number}"
                problems.append(Finding(Problem("label-file", where, str(error)), split, number))
            else:
                sources.append(OpenSource(split, number, source))
    return OpenData(data, description.classes, names, sources, problems)


def default_workers() -> int:
    """The cores that this process may use."""
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1


class _Records(Dataset[PictureRecord | InputError]):
    """The records of all images, by position."""

    def __init__(self, sources: Sequence[OpenSource], anchors: AnchorSet | None):
        self.sources = sources
        self.anchors = anchors
        self.ends = np.cumsum([len(opened.source) for opened in sources])

    def __len__(self) -> int:
        return int(self.ends[-1])

    def __getitem__(self, position: int) -> PictureRecord | InputError:
        """An error is returned, not raised: a worker process would wrap it in a traceback."""
        opened = self.sources[int(np.searchsorted(self.ends, position, side="right"))]
        index = position - int(self.ends[self.sources.index(opened)]) + len(opened.source)
        where = f"{opened.split}, source {opened.number}, image {index + 1}"
        try:
            return check_picture(opened.source, index, where, self.anchors)
        except InputError as error:
            return error


def read_records(
    sources: Sequence[OpenSource], anchors: AnchorSet | None, workers: int
) -> Generator[tuple[tuple[OpenSource, int], PictureRecord]]:
    """The record of every image, in order, with its source and its index there.

    Args:
        sources: of any splits.
        anchors: see `check_picture`.
        workers: processes that read; 0 = this one.

    Raises:
        InputError: if a package is missing that the data needs.
    """
    places = ((opened, index) for opened in sources for index in range(len(opened.source)))
    if not any(len(opened.source) for opened in sources):
        return
    records: DataLoader[PictureRecord | InputError] = DataLoader(
        _Records(sources, anchors),
        batch_size=None,
        num_workers=workers,
        collate_fn=_unchanged,
        worker_init_fn=_use_one_thread if workers else None,
        prefetch_factor=16 if workers else None,
    )
    for place, record in zip(places, records, strict=True):
        if isinstance(record, InputError):
            raise record
        yield place, record


def _unchanged(record: Any) -> Any:
    return record


def _use_one_thread(_: int) -> None:
    torch.set_num_threads(1)


def find_same_pictures(pictures: Sequence[Picture]) -> Iterator[Finding]:
    """Images whose pixels are equal, whatever their files.

    One that is trained on and measured on is an error, of the copy in `train`; others are warnings,
    of each later copy.
    """
    copies: dict[bytes, list[Picture]] = defaultdict(list)
    for picture in pictures:
        if picture.pixel_hash is not None:
            copies[picture.pixel_hash].append(picture)
    for same in copies.values():
        measured = next((copy for copy in same if copy.split != TRAIN), None)
        for position, copy in enumerate(same):
            path = str(copy.path)
            if copy.split == TRAIN and measured is not None:
                text = f"is the same image as {measured.path} in {measured.split}; keep one"
                yield _of_picture(copy, Problem("same-picture", path, text))
                continue
            earlier = [other for other in same[:position] if other.split != TRAIN or not measured]
            other = next((c for c in earlier if c.split == copy.split), next(iter(earlier), None))
            if other is not None:
                again = (
                    f"again as in source {other.number}"
                    if other.path == copy.path
                    else (f"is the same image as {other.path}")
                )
                text = again + ("" if other.split == copy.split else f" in {other.split}")
                yield _of_picture(copy, Problem("same-picture", path, text, is_error=False))


def find_near_duplicates(
    pictures: Sequence[Picture], looks: Sequence[np.ndarray | None]
) -> Iterator[Finding]:
    """Images that look like an earlier one; one of another split is named first.

    Args:
        images: all.
        looks: of each, see `grey_cells`; None = is passed over.
    """
    first = {picture.pixel_hash: index for index, picture in reversed(list(enumerate(pictures)))}
    kept = [  # equal images are told of elsewhere
        index
        for index, picture in enumerate(pictures)
        if looks[index] is not None and first[picture.pixel_hash] == index
    ]
    cells = np.array([looks[index] for index in kept], np.uint8).reshape(-1, 8, 9)
    earlier: dict[int, list[int]] = defaultdict(list)
    for one, other in near_duplicates(cells).tolist():
        earlier[kept[other]].append(kept[one])
    for index, others in sorted(earlier.items()):
        picture = pictures[index]
        elsewhere = (other for other in others if pictures[other].split != picture.split)
        other = pictures[next(elsewhere, others[0])]
        place = "" if other.split == picture.split else f" in {other.split}"
        text = f"looks like {other.path}{place}"
        yield _of_picture(
            picture, Problem("near-duplicate", str(picture.path), text, is_error=False)
        )


def find_absent_classes(statistics: dict[str, SplitStatistics], data: Path) -> Iterator[Finding]:
    """Classes that no image of a split shows."""
    for split, counts in statistics.items():
        for name in counts.absent_classes():
            text = f"no box and no pixel is labelled {name!r}"
            problem = Problem("class-absent", f"{data}, {split}", text, is_error=False)
            yield Finding(problem, split)


def _of_picture(picture: Picture, problem: Problem) -> Finding:
    return Finding(problem, picture.split, picture.number, picture.index)
