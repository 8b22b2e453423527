"""Images that a run leaves out because of their errors: what its folder says of them."""

import json
from collections import defaultdict
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from blitznet.data.check.report import Finding
from blitznet.data.description import DataDescription
from blitznet.data.source import LabelSource, Subset
from blitznet.errors import InputError
from blitznet.whole_file import whole_file

SKIPPED_FILE = "skipped.json"


def require_skippable(errors: Sequence[Finding]) -> None:
    """Leaving out images mends errors of images, not of whole sources.

    Raises:
        InputError: for the first error of a source.
    """
    for finding in errors:
        if finding.index is None:
            raise InputError(str(finding.problem))


def write_skipped(folder: Path, errors: Sequence[Finding], description: DataDescription) -> None:
    """Record which images a run leaves out, and why.

    Raises:
        InputError: if the file cannot be written.
    """
    reasons: dict[tuple[str, int, int], list[str]] = defaultdict(list)
    for finding in errors:
        assert finding.source is not None
        assert finding.index is not None
        place = finding.split, finding.source, finding.index + 1
        reasons[place].append(str(finding.problem))
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
    with whole_file(folder / SKIPPED_FILE) as temporary:
        temporary.write_text(json.dumps(content, indent=2) + "\n")


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
    left = []
    for number, source in enumerate(sources, start=1):
        skipped = {
            picture["picture"] - 1
            for picture in content["skipped"]
            if (picture["split"], picture["source"]) == (split, number)
        }
        kept = [index for index in range(len(source)) if index not in skipped]
        if kept:
            left.append(Subset(source, kept) if skipped else source)
    if not left:
        raise InputError(f"every image of {split} has an error; see {folder / SKIPPED_FILE}")
    return left


def _read(folder: Path) -> dict[str, Any]:
    """The record; an empty one where nothing is left out."""
    path = folder / SKIPPED_FILE
    try:
        content = json.loads(path.read_text())
    except FileNotFoundError:
        return {"pictures": {}, "skipped": []}
    except (OSError, ValueError) as error:
        raise InputError(f"{path} cannot be read: {error}") from None
    if not isinstance(content, dict) or not {"pictures", "skipped"} <= content.keys():
        raise InputError(f"{path} is damaged; start a new run")
    return content
