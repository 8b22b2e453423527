"""Files with a JSON object a line, valid however the process that writes them ends."""

import json
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from blitznet.errors import InputError, writing
from blitznet.files.atomic_write import atomic_write

Record = dict[str, Any]


@contextmanager
def append_lines(path: Path) -> Iterator[Callable[[Record], None]]:
    """Append to a file, which is made if it is not there.

    Yields:
        Writes a line at once. One that is interrupted or does not fit on the disk is taken back.

    Raises:
        InputError: if it cannot be written.
    """
    with writing(path), path.open("ab", buffering=0) as file:

        def append(record: Record) -> None:
            start = file.tell()
            line = json.dumps(record).encode() + b"\n"
            try:
                while line:  # a disk that fills takes a part
                    line = line[file.write(line) :]
            except BaseException:
                file.truncate(start)
                raise

        yield append


def read_lines(path: Path) -> Iterator[Record]:
    """The records of a file, without a last line that a killed process left unfinished.

    Raises:
        InputError: if it cannot be read, or a line is damaged.
    """
    try:
        with path.open("rb") as file:
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
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from error


def keep_lines(path: Path, is_kept: Callable[[Record], bool]) -> Iterator[Record]:
    """Write a file anew with some of its records, and without an unfinished last line.

    Yields:
        The records that are kept. The file is replaced after the last one.

    Raises:
        InputError: as `read_lines`, or if it cannot be written.
    """
    with atomic_write(path) as temporary, temporary.open("w", encoding="utf-8") as kept:
        for record in filter(is_kept, read_lines(path)):
            kept.write(json.dumps(record) + "\n")
            yield record
