"""Check every image and label of a data description; record the images that a run skips."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import closing
from difflib import get_close_matches
from itertools import chain
from pathlib import Path

import numpy as np
from torch.utils.data import Dataset

from blitznet.classes import IGNORE_INDEX
from blitznet.data.check.check_report import CheckReport, OpenSource, SplitStatistics
from blitznet.data.check.image_check import NO_OBJECT, ImageRecord, check_image
from blitznet.data.description import DataDescription, Entry
from blitznet.data.labels import Problem
from blitznet.data.loader import prepare_ahead
from blitznet.data.source import LabelSource
from blitznet.errors import InputError, LabelError, closest, count_of
from blitznet.files.text_files import read_json, write_json
from blitznet.model_info import ModelConfig
from blitznet.progress import with_progress

TRAIN = "train"

MAX_LISTED = 20  # class names listed in a finding
MANY = 5000  # images; above this, no similar names are searched for

_AT_ONCE = 4  # images per batch of a worker

# Re-saved or scaled copies of photos differ in 0 to 2 of 64 bits, and by less than 1 grey level.
NEAR_BITS = 4
NEAR_GREY = 8.0

FALL = 2  # grey levels; smaller falls are noise, which makes the bits of flat areas random

_ROWS_AT_ONCE = 1024

SKIPPED_FILE = "skipped.json"


def check_data(
    description: DataDescription,
    data: Path,
    splits: Sequence[str] | None = None,
    model: ModelConfig | None = None,
    workers: int = 0,
    show_progress: bool = True,
) -> CheckReport:
    """Check images and labels, one by one and against each other.

    Args:
        description: the data description to check.
        data: its path, for messages.
        splits: names of the splits to check; None = all.
        model: network whose anchors the boxes are compared with; None = report no warnings about
            images, only about sources and splits.
        workers: processes that read images; 0 = read in this process.
        show_progress: show a progress bar on a terminal.

    Raises:
        InputError: if a split does not exist or the data needs a package that is not installed.
    """
    names = list(description.splits if splits is None else dict.fromkeys(splits))
    sources, problems = _open_sources(description, data, names)
    unread = _Records(sources, model)
    total = len(unread)
    positions = [list(range(i, min(i + _AT_ONCE, total))) for i in range(0, total, _AT_ONCE)]
    with closing(prepare_ahead(unread, positions, list, workers)) as batches:
        records = list(with_progress(chain.from_iterable(batches), total, "images", show_progress))
    problems += chain.from_iterable(record.problems for record in records)
    problems += find_same_images(records)
    statistics = {
        split: SplitStatistics(description.classes, [r for r in records if r.split == split])
        for split in names
    }
    if model is None:
        problems = [problem for problem in problems if problem.is_error]
    else:
        problems += find_near_duplicates(records)
    for split in names:
        near = closest(split, (TRAIN, "val"))
        if near and near not in description.splits:
            text = f"a split of this name is not used in training; did you mean {near}?"
            problems.append(Problem("split-name", f"{data}, {split}", text, False, split))
    for split, counts in statistics.items():
        if absent := counts.absent_classes():
            text = f"no box and no pixel is labelled {', '.join(absent[:MAX_LISTED])}"
            if len(absent) > MAX_LISTED:
                text += f" and {len(absent) - MAX_LISTED} more"
            problems.append(Problem("class-absent", f"{data}, {split}", text, False, split))
        problems += _void_maps(description, data, split, records)
    return CheckReport(str(data), model.name if model else None, problems, statistics, sources)


def _open_sources(
    description: DataDescription, data: Path, splits: Sequence[str]
) -> tuple[list[OpenSource], list[Problem]]:
    """Open all sources; return those that open, and the problems of the others."""
    sources: list[OpenSource] = []
    problems: list[Problem] = []
    for split in splits:
        for number, entry in enumerate(description.entries(split), start=1):
            try:
                source = entry.open(description.folder, description.classes)
            except LabelError as error:
                where = f"{data}, {split}, source {number}"
                problems.append(Problem("label-file", where, str(error), True, split, number))
            else:
                sources.append((split, number, source))
                problems += _unclaimed_files(split, number, entry, source, description.folder)
    return sources, problems


def _unclaimed_files(
    split: str, number: int, entry: Entry, source: LabelSource, folder: Path
) -> Iterator[Problem]:
    """Label files that belong to no image."""
    names: list[str] = []
    for path, missing in entry.unclaimed_files(folder, source.keys):
        if missing is not None:
            text = (
                f"{missing.name} is expected here: the name differs in letter case or Unicode "
                "form; rename it"
            )
        else:
            if not names and len(source) < MANY:
                names = [source.image_id(index) for index in range(len(source))]
            near = get_close_matches(path.stem, names, n=1, cutoff=0.8)
            text = "belongs to no image" + (f"; is it for {near[0]}?" if near else "")
        yield Problem("unclaimed", str(path), text, missing is not None, split, number)


def _void_maps(
    description: DataDescription, data: Path, split: str, records: Sequence[ImageRecord]
) -> Iterator[Problem]:
    """Sources whose maps have void where a class is expected, as binary masks of 0 and 255 do."""
    for number, entry in enumerate(description.entries(split), start=1):
        maps = [r.pixels for r in records if (r.split, r.source) == (split, number) and r.pixels]
        voids = [pixels for pixels in maps if IGNORE_INDEX in pixels]
        if entry.values_key and voids and not any(one.keys() - NO_OBJECT for one in voids):
            text = (
                f"no class in {count_of(len(voids), 'map')}, only background and void "
                f"({IGNORE_INDEX}); if {IGNORE_INDEX} is an object, write {entry.values_key}: "
                f"{{0: background, {IGNORE_INDEX}: {description.classes[1]}}}"
            )
            where = f"{data}, {split}, source {number}"
            yield Problem("void-maps", where, text, False, split, number)


class _Records(Dataset[ImageRecord]):
    """The records of all images, by position."""

    def __init__(self, opened: Sequence[OpenSource], model: ModelConfig | None):
        self._places = [(one, index) for one in opened for index in range(len(one[-1]))]
        self._model = model

    def __len__(self) -> int:
        return len(self._places)

    def __getitem__(self, position: int) -> ImageRecord:
        (split, number, source), index = self._places[position]
        return check_image(source, ImageRecord(split, number, index), self._model)


def find_same_images(records: Sequence[ImageRecord]) -> Iterator[Problem]:
    """Images with identical pixels, whatever their files.

    An image of `train` that is also in another split is an error, reported for the copy in `train`.
    All other duplicates are warnings, reported for each later copy.
    """
    copies: dict[bytes, list[ImageRecord]] = defaultdict(list)
    for record in records:
        if record.pixel_hash is not None:
            copies[record.pixel_hash].append(record)
    for same in copies.values():
        measured = [copy for copy in same if copy.split != TRAIN]
        for copy in same:
            if measured and copy.split == TRAIN:
                text = f"is the same image as {measured[0].path} in {measured[0].split}; keep one"
                yield copy.problem("same-picture", text)
        first, *later = measured or same
        for number, copy in enumerate(later, start=1):
            near = (other for other in (measured or same)[:number] if other.split == copy.split)
            other = next(near, first)
            text = f"is the same image as {other.path}"
            if other.path == copy.path:
                text = f"listed again, as in source {other.source}"
            yield copy.problem("same-picture", text + _elsewhere(other, copy), is_error=False)


def _elsewhere(other: ImageRecord, record: ImageRecord) -> str:
    return "" if other.split == record.split else f" in {other.split}"


def find_near_duplicates(records: Sequence[ImageRecord]) -> Iterator[Problem]:
    """Images that look like an earlier one; a match in another split is preferred.

    Skips images without a thumbnail, and all but the first of identical images.
    """
    first = {record.pixel_hash: record for record in reversed(records)}
    kept = [r for r in records if r.thumbnail is not None and first[r.pixel_hash] is r]
    cells = np.array([record.thumbnail for record in kept], np.uint8).reshape(-1, 8, 9)
    earlier: dict[int, list[ImageRecord]] = defaultdict(list)
    for one, other in near_duplicates(cells).tolist():
        earlier[other].append(kept[one])
    for index, others in sorted(earlier.items()):
        record = kept[index]
        other = next((other for other in others if other.split != record.split), others[0])
        text = f"looks like {other.path}{_elsewhere(other, record)}"
        yield record.problem("near-duplicate", text, is_error=False)


def near_duplicates(cells: np.ndarray) -> np.ndarray:
    """Find all pairs of images that look the same, from their (N, 8, 9) uint8 `grey_cells`.

    Each pair of horizontal neighbours gives a bit: whether brightness falls by more than `FALL`
    ("dHash"). Scaling and compression hardly change these bits.

    Returns:
        (P, 2) int64 pairs of indices, sorted, the smaller index first. At most `NEAR_BITS` of the
        64 bits differ. As the bits of flat images say nothing, the cells minus their mean also
        differ by at most `NEAR_GREY` on average.
    """
    falls = (cells[:, :, :-1].astype(np.int16) - cells[:, :, 1:] > FALL).reshape(-1, 64)
    signs = np.where(falls, 1, -1).astype(np.float32)  # a product sums equal minus unequal bits
    relative = cells - cells.mean(axis=(1, 2), keepdims=True)
    found = [np.zeros((0, 2), np.int64)]
    for start in range(0, len(cells), _ROWS_AT_ONCE):
        products = signs[start : start + _ROWS_AT_ONCE] @ signs[start:].T
        pairs = start + np.argwhere(np.triu(products >= 64 - 2 * NEAR_BITS, k=1))
        for part in np.array_split(pairs, 1 + len(pairs) // _ROWS_AT_ONCE):
            difference = abs(relative[part[:, 0]] - relative[part[:, 1]]).mean(axis=(1, 2))
            found.append(part[difference <= NEAR_GREY])
    return np.concatenate(found)


def write_skipped(folder: Path, errors: Sequence[Problem], description: DataDescription) -> None:
    """Record which images a run skips, and why.

    Raises:
        InputError: if the file cannot be written.
    """
    splits = sorted({problem.split for problem in errors})
    lengths = {split: [len(one) for one in description.open_split(split)] for split in splits}
    skipped = [
        {"split": one.split, "source": one.source, "picture": one.index + 1, "why": str(one)}
        for one in errors
        if one.index is not None
    ]
    write_json(folder / SKIPPED_FILE, {"pictures": lengths, "skipped": skipped})


def without_skipped(sources: Sequence[LabelSource], split: str, folder: Path) -> list[LabelSource]:
    """The sources of a split, without the images that the run in `folder` skips.

    Raises:
        InputError: if the record is damaged or belongs to other data, or no image is left.
    """
    path = folder / SKIPPED_FILE
    content = read_json(path) if path.exists() else {"pictures": {}, "skipped": []}
    if not isinstance(content, dict) or not {"pictures", "skipped"} <= content.keys():
        raise InputError(f"{path} is damaged; start a new run")
    if split not in content["pictures"]:
        return list(sources)
    then, now = content["pictures"][split], [len(source) for source in sources]
    if then != now:
        raise InputError(
            f"{path} is of {split} sources with {then} images, now there are {now}; start a new run"
        )
    places = {(one["split"], one["source"], one["picture"]) for one in content["skipped"]}
    left = [
        source.subset([i for i in range(len(source)) if (split, number, i + 1) not in places])
        for number, source in enumerate(sources, start=1)
    ]
    left = [source for source in left if len(source)]
    if not left:
        raise InputError(f"every image of {split} has an error; see {path}")
    return left
