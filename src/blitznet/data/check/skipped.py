"""Images that a run skips because of errors, as recorded in its folder."""

from collections.abc import Sequence
from pathlib import Path

from blitznet.data.description import DataDescription
from blitznet.data.labels import Problem
from blitznet.data.source import LabelSource
from blitznet.errors import InputError
from blitznet.files.text_files import read_json, write_json

SKIPPED_FILE = "skipped.json"


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
