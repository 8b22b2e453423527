"""Write files atomically."""

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from blitznet.errors import file_errors

_TEMPORARY = ".blitznet-{}.part"
_OF_SAFETENSORS = ".tmp??????"  # temporary names of safetensors

# First and last bytes of JPEG and PNG, whose writers may ignore a full disk, as Pillow does.
_ENDS = {b"\xff\xd8\xff": b"\xff\xd9", b"\x89PNG\r\n\x1a\n": b"IEND\xaeB`\x82"}


@contextmanager
def atomic_write(path: Path, sync: bool = True) -> Iterator[Path]:
    """Write to a temporary file, and rename it to `path` if the block succeeds.

    Files that a library silently truncates on a full disk are detected by their last bytes.

    Args:
        path: final name, replaced if it exists; a link is replaced, not followed.
        sync: wait until the file is on the disk, so that it survives a power cut. This takes ten
            milliseconds, so pass False for one of thousands.

    Yields:
        The temporary path, in the same folder; the block creates the file.

    Raises:
        InputError: if the block raises an OSError, or the file cannot be renamed.
    """
    temporary = path.with_name(_TEMPORARY.format(uuid4().hex))
    try:
        with file_errors(path):
            yield temporary
            _require_whole(temporary, sync)
            temporary.replace(path)
    finally:
        if temporary.exists():  # unlink(missing_ok=True) would raise if the folder is a file
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
    """Find temporary files in a folder, left by killed processes or being written now."""
    patterns = (_TEMPORARY.format("*"), _OF_SAFETENSORS)
    found = [path for pattern in patterns for path in folder.glob(pattern)]
    return [path for path in found if path.is_file()]
