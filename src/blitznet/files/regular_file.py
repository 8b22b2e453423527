"""Open untrusted files: only regular ones, up to a size."""

import errno
import os
import stat
from typing import BinaryIO

MEGABYTE = 2**20


def open_regular(path: str | os.PathLike[str], limit: int) -> tuple[BinaryIO, int]:
    """Open a regular file for reading.

    Pipes and devices could block or never end, and files in /proc have no size.

    Args:
        path: links are followed.
        limit: maximum size, bytes.

    Returns:
        The open file, and its size in bytes.

    Raises:
        OSError: with the reason as `strerror`; also for invalid file names.
    """
    flags = os.O_RDONLY | getattr(os, "O_NONBLOCK", 0) | getattr(os, "O_BINARY", 0)
    try:
        descriptor = os.open(path, flags)  # non-blocking: a pipe would wait for its writer
    except ValueError:  # a null character, or an unpaired surrogate
        raise OSError(errno.EINVAL, "no file can have this name") from None
    file = os.fdopen(descriptor, "rb")
    found = os.fstat(descriptor)
    if not stat.S_ISREG(found.st_mode):
        file.close()
        if stat.S_ISDIR(found.st_mode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        raise OSError(errno.EINVAL, "a pipe or a device, not a file")
    if found.st_size > limit:
        file.close()
        size = f"{found.st_size / MEGABYTE:.0f} MB, more than {limit // MEGABYTE} MB"
        raise OSError(errno.EFBIG, size)
    return file, found.st_size


def read_regular(path: str | os.PathLike[str], limit: int) -> bytes:
    """Read a file; see `open_regular`."""
    file, size = open_regular(path, limit)
    with file:
        return file.read(size)
