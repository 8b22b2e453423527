"""Images that a run leaves out because of their errors: what its folder says of them."""

from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from blitznet.data.description import DataDescription
from blitznet.data.labels import Problem
from blitznet.data.source import LabelSource
from blitznet.errors import InputError
from blitznet.text_files import read_json, write_json

SKIPPED_FILE = "skipped.json"


def require_skippable(errors: Sequence[Problem]) -> None:
    """Leaving out images mends errors of images, not of whole sources.

    Raises:
        InputError: for the first error of a source.
    """
    for problem in errors:
        if problem.index is None:
            raise InputError(str(problem))


def write_skipped(folder: Path, errors: Sequence[Problem], description: DataDescription) -> None:
    """Record which images a run leaves out, and why.

    Raises:
        InputError: if the file cannot be written.
    """
    reasons: dict[tuple[str, int, int], list[str]] = defaultdict(list)
    for problem in errors:
        assert problem.source is not None
        assert problem.index is not None
        reasons[problem.split, problem.source, problem.index + 1].append(str(problem))
    content = {
        "pictures": {
            split: [len(source) for source in description.open_split(split)]
            for split in sorted({split for split, _, _ in reasons})
        },
        "skipped": [
            {"split": split, "source": source, "picture": picture, "why": why}
            for (split, source, picture), why in sorted(reasons.items())
        ],
    }
    write_json(folder / SKIPPED_FILE, content)


def skipped_lines(folder: Path) -> Iterator[str]:
    """What a run leaves out, a reason a line."""
    for picture in _read(folder)["skipped"]:
        yield from picture["why"]


def without_skipped(sources: Sequence[LabelSource], split: str, folder: Path) -> list[LabelSource]:
    """The sources of a split without the images that a run leaves out.

    Args:
        sources: all of the split.
        split: its name.
        folder: of the run.

    Raises:
        InputError: if the record is damaged or of other data, or leaves nothing.
    """
    content = _read(folder)
    if split not in content["pictures"]:
        return list(sources)
    lengths = [len(source) for source in sources]
    if content["pictures"][split] != lengths:
        raise InputError(
            f"{folder / SKIPPED_FILE} is of {split} sources with {content['pictures'][split]} "
            f"images, now there are {lengths}; start a new run"
        )
    left: list[LabelSource] = []
    for number, source in enumerate(sources, start=1):
        skipped = {
            picture["picture"] - 1
            for picture in content["skipped"]
            if (picture["split"], picture["source"]) == (split, number)
        }
        kept = [index for index in range(len(source)) if index not in skipped]
        if kept:
            left.append(source.subset(kept) if skipped else source)
    if not left:
        raise InputError(f"every image of {split} has an error; see {folder / SKIPPED_FILE}")
    return left


def _read(folder: Path) -> dict[str, Any]:
    """The record; an empty one where nothing is left out."""
    path = folder / SKIPPED_FILE
    if not path.exists():
        return {"pictures": {}, "skipped": []}
    content = read_json(path)
    if not isinstance(content, dict) or not {"pictures", "skipped"} <= content.keys():
        raise InputError(f"{path} is damaged; start a new run")
    return content
