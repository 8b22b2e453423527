"""Files that are complete or not there."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from blitznet.errors import writing

_TEMPORARY = ".blitznet-{}.part"
_OF_SAFETENSORS = ".tmp??????"  # where safetensors writes what it then gives the name asked for

# How files begin and end whose writers may ignore a full disk: JPEG (Pillow does) and PNG.
_ENDS = {b"\xff\xd8\xff": b"\xff\xd9", b"\x89PNG\r\n\x1a\n": b"IEND\xaeB`\x82"}


@contextmanager
def atomic_write(path: Path, sync: bool = True) -> Iterator[Path]:
    """Write a file under a temporary name; it gets its own name only when the block ends well.

    A file that a library has cut short on a full disk without saying so is found by its end.

    Args:
        path: final name, replaced if it exists; a link is replaced, not followed.
        sync: wait until it is on the disk, so that it survives a power cut, too; False for one of
            thousands, as that takes ten milliseconds.

    Yields:
        The temporary name, in the same folder, not yet there.

    Raises:
        InputError: if the block raises an OSError, or the file cannot be renamed.
    """
    temporary = path.with_name(_TEMPORARY.format(uuid4().hex))
    try:
        with writing(path):
            yield temporary
            _require_whole(temporary, sync)
            temporary.replace(path)
    finally:
        if temporary.exists():  # not where the folder is a file, which unlink would not forgive
            temporary.unlink()


def _require_whole(path: Path, sync: bool) -> None:
    with path.open("rb+") as file:
        if sync:
            os.fsync(file.fileno())
        begin = file.read(max(map(len, _ENDS)))
        for magic, end in _ENDS.items():
            if begin.startswith(magic):
                file.seek(-min(len(end), len(begin)), os.SEEK_END)
                if file.read() != end:
                    raise OSError(errno.ENOSPC, "cut short; the disk may be full")


def unfinished_files(folder: Path) -> list[Path]:
    """What processes that were killed while writing left in a folder, or what one writes now."""
    patterns = (_TEMPORARY.format("*"), _OF_SAFETENSORS)
    found = [path for pattern in patterns for path in folder.glob(pattern)]
    return [path for path in found if path.is_file()]
