"""The check that training begins with, and what it remembers so that the next one starts at once.

What is remembered is that nothing was wrong: a file in the user's cache folder, named for what the
labels say and for the size and time of every image and map. Any change gives another name.
"""

import hashlib
from collections.abc import Iterable, Sequence
from importlib.metadata import version
from pathlib import Path

from blitznet.cache import cache_folder
from blitznet.data.check.check import OpenData, check_data, open_data
from blitznet.data.check.picture_check import map_file
from blitznet.data.check.report import Finding
from blitznet.data.description import DataDescription
from blitznet.errors import InputError, LabelError
from blitznet.whole_file import whole_file


def find_errors(
    description: DataDescription, data: Path, splits: Sequence[str], workers: int
) -> list[Finding]:
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
        _remember(remembered, data)
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
                digest.update(repr(labels).encode("utf-8", "surrogateescape"))
                digest.update(_stamps(filter(None, (labels.picture, map_file(labels)))))
    except LabelError:
        return None
    return digest.hexdigest()


def _stamps(paths: Iterable[Path]) -> bytes:
    """Name, size and time of change of files."""
    stamps = []
    for path in paths:
        try:
            status = path.stat()
            stamps.append((str(path.absolute()), status.st_size, status.st_mtime_ns))
        except (OSError, ValueError):  # missing; a null byte in the name
            stamps.append((str(path), -1, -1))
    return repr(stamps).encode("utf-8", "surrogateescape")


def _remember(path: Path, data: Path) -> None:
    """Write the file; where the cache cannot be written, the next training checks again."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with whole_file(path) as temporary:
            temporary.write_text(f"{data.absolute()}\n", encoding="utf-8", errors="replace")
    except (OSError, InputError):
        return
