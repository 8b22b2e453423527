"""JSON Lines files that stay valid even if the writing process is killed."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from blitznet.errors import InputError, file_errors
from blitznet.files.atomic_write import atomic_write

Record = dict[str, Any]


@contextmanager
def append_lines(path: Path) -> Iterator[Callable[[Record], None]]:
    """Append to a file, which is created if missing.

    Yields:
        A function that writes a line immediately. If it fails, it removes the incomplete line.

    Raises:
        InputError: if the file cannot be written.
    """
    with file_errors(path), path.open("ab", buffering=0) as file:

        def append(record: Record) -> None:
            start = file.tell()
            line = json.dumps(record).encode() + b"\n"
            try:
                while line:  # a nearly full disk may take only a part
                    line = line[file.write(line) :]
            except BaseException:
                file.truncate(start)
                raise

        yield append


def read_lines(path: Path) -> Iterator[Record]:
    """Read the records of a file, except for a last line that a killed process left unfinished.

    Raises:
        InputError: if the file cannot be read, or a line is damaged.
    """
    with file_errors(path, "read"), path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            try:
                record = json.loads(line)
            except (ValueError, RecursionError):
                record = None
            if not isinstance(record, dict):
                raise InputError(f"{path}: line {number} is damaged; delete it, or the file")
            yield record


def keep_lines(path: Path, is_kept: Callable[[Record], bool]) -> Iterator[Record]:
    """Rewrite a file with some of its records, and without an unfinished last line.

    Yields:
        The records that are kept. The file is replaced after the last one.

    Raises:
        InputError: see `read_lines`; also if the file cannot be written.
    """
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8") as kept:
        for record in filter(is_kept, read_lines(path)):
            kept.write(json.dumps(record) + "\n")
            yield record
