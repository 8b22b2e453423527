"""Folders for work in progress, which the next run removes if this one is killed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

_PREFIX = ".blitznet-"
_LOCK_FILE = "in-use"


@contextmanager
def temporary_folder(parent: Path) -> Iterator[Path]:
    """A folder inside `parent`, removed with its content at the end of the block.

    Folders left there by killed processes are removed, too: their locks are free.

    Raises:
        OSError: if it cannot be created.
    """
    for left in parent.glob(f"{_PREFIX}*"):
        if (left / _LOCK_FILE).is_file() and not left.is_symlink():
            with suppress(OSError), _lock(left):
                rmtree(left)
    folder = Path(mkdtemp(prefix=_PREFIX, dir=parent))
    try:
        (folder / _LOCK_FILE).touch()
        with _lock(folder):
            yield folder
    finally:
        rmtree(folder, ignore_errors=True)


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Raises OSError where another process has it; the system frees it when that ends."""
    with (folder / _LOCK_FILE).open("rb+") as file:
        if os.name == "posix":
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
