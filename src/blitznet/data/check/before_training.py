"""The check that training begins with, and what it remembers so that the next one starts at once.

What is remembered is that nothing was wrong: a file in the user's cache folder, named for what the
labels say and for the size and time of every image and map. Any change gives another name.
"""

import hashlib
from collections.abc import Sequence
from importlib.metadata import version
from pathlib import Path

from blitznet.cache import cache_folder
from blitznet.data.check.check import OpenData, check_data, open_data
from blitznet.data.check.picture_check import map_file
from blitznet.data.description import DataDescription
from blitznet.data.labels import Problem
from blitznet.errors import InputError, LabelError
from blitznet.whole_file import whole_file


def find_errors(
    description: DataDescription, data: Path, splits: Sequence[str], workers: int
) -> list[Problem]:
    """Everything that training would fail on or suffer from.

    Args:
        description: of the data.
        data: its file, for messages.
        splits: that training uses.
        workers: processes that read; 0 = this one.

    Raises:
        InputError: if there is no such split, or a package is missing that the data needs.
    """
    opened = open_data(description, data, splits)
    key = fingerprint(opened)
    remembered = cache_folder() / "checked" / key if key is not None else None
    if remembered is not None and remembered.exists():
        return []
    errors = check_data(opened, workers=workers).errors
    if not errors and remembered is not None:
        try:
            remembered.parent.mkdir(parents=True, exist_ok=True)
            with whole_file(remembered) as temporary:
                text = f"{data.absolute()}\n"
                temporary.write_text(text, encoding="utf-8", errors="replace")
        except (OSError, InputError):
            pass  # where the cache cannot be written, the next training checks again
    return errors


def fingerprint(opened: OpenData) -> str | None:
    """What the check's result depends on, as 32 hexadecimal digits; None where labels are damaged.

    Label files are parsed and not only looked at: readers do not say which files they read.
    """
    if opened.problems:
        return None
    digest = hashlib.blake2b(f"{version('blitznet')} {opened.names}".encode(), digest_size=16)
    try:
        for split, number, source in opened.sources:
            table = source.table
            meaning = split, number, table.names, table.label_map, table.known.tolist()
            digest.update(repr(meaning).encode())
            for index in range(len(source)):
                labels = source.labels(index)
                stamps = [_stamp(path) for path in (labels.picture, map_file(labels)) if path]
                digest.update(repr((labels, stamps)).encode("utf-8", "surrogateescape"))
    except LabelError:
        return None
    return digest.hexdigest()


def _stamp(path: Path) -> tuple[str, int, int]:
    """Name, size and time of change of a file."""
    try:
        status = path.stat()
    except (OSError, ValueError):  # missing; a null byte in the name
        return str(path), -1, -1
    return str(path.absolute()), status.st_size, status.st_mtime_ns
