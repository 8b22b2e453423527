"""Folders for work in progress, which the next run removes if this one is killed."""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp

from blitznet.errors import writing

_PREFIX = ".blitznet-"
_LOCK_FILE = "in-use"


@contextmanager
def temporary_folder(parent: Path) -> Iterator[Path]:
    """A folder inside `parent`, removed with its content at the end of the block.

    It is on the same disk, so that its files are moved out in one step. Folders that killed
    processes have left there are removed, too: their locks are free.

    Args:
        parent: made if it is not there.

    Raises:
        InputError: if the block raises an OSError, or the folder cannot be made.
    """
    folder = None
    try:
        with writing(parent):
            parent.mkdir(parents=True, exist_ok=True)
            for left in parent.glob(f"{_PREFIX}*"):
                if (left / _LOCK_FILE).is_file() and not left.is_symlink():
                    with suppress(OSError), _lock(left):
                        rmtree(left)
            folder = Path(mkdtemp(prefix=_PREFIX, dir=parent))
            (folder / _LOCK_FILE).touch()
            with _lock(folder):
                yield folder
    finally:
        if folder is not None:
            rmtree(folder, ignore_errors=True)


@contextmanager
def _lock(folder: Path) -> Iterator[None]:
    """Raises OSError where another process has it; the system frees it when that ends."""
    with (folder / _LOCK_FILE).open("rb+") as file:
        if os.name == "posix":
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield
