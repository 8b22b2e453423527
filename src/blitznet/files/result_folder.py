"""Folders for a command's results and for work in progress.

A killed process leaves its work folder behind, and the next run removes it.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from time import monotonic, sleep

from blitznet.errors import InputError, file_errors

# Maximum time that workers outlive a killed process; they hold its lock until then.
PATIENCE_S = 10.0

_PREFIX, _MARK = ".blitznet-", "in-use"


def ensure_folder(folder: Path) -> Path:
    """Create a folder and its parents if missing, and return it.

    Raises:
        InputError: if it cannot be created.
    """
    with file_errors(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def require_usable(out: Path | None, overwrite: bool | None = False) -> None:
    """Check early for the errors of `make_folder`, without creating the folder.

    `overwrite` None = the command has no such option.

    Raises:
        InputError: if `out` is not empty, or a file.
    """
    if out is None:
        return
    if out == Path("-"):
        raise InputError("--out -: the results are files, which stdout cannot take; name a folder")
    with file_errors(out):
        if out.is_file():
            raise InputError(f"{out} is a file; name a folder for the results")
        if out.exists() and any(out.iterdir()) and not overwrite:
            option = ", or add --overwrite" if overwrite is not None else ""
            raise InputError(f"{out}: not empty; name another folder{option}")


def make_folder(out: Path | None, default: Path, overwrite: bool | None = False) -> Path:
    """Create the folder for a run's results if missing.

    Args:
        out: the user's choice; None = `default`.
        default: such as runs/predict; if it exists, the first free one of runs/predict-2, -3, ...
        overwrite: whether `out` may be non-empty; None = never.

    Raises:
        InputError: if the folder is not empty, or cannot be created.
    """
    with file_errors(out or default):
        if out is None:
            return _make_next(default)
        require_usable(out, overwrite)
        out.mkdir(parents=True, exist_ok=True)
        _require_no_links(out)
    return out


def _require_no_links(folder: Path) -> None:
    """Raise InputError if the folder holds a link, so that nothing is written outside it."""
    for parent, folders, _ in os.walk(folder):
        for path in (Path(parent, name) for name in folders):
            if path.is_symlink():
                raise InputError(f"{path} is a link to another folder; remove it")


def _make_next(folder: Path) -> Path:
    number, candidate = 1, folder
    while True:
        try:
            candidate.mkdir(parents=True)
            return candidate
        except FileExistsError:
            number += 1
            candidate = folder.with_name(f"{folder.name}-{number}")


@contextmanager
def locked(folder: Path, patience: float = PATIENCE_S) -> Iterator[None]:
    """Lock a folder for this process until the end of the block.

    Has no effect on Windows and on file systems without locks.

    Args:
        folder: an existing folder.
        patience: seconds to wait for another process.

    Raises:
        InputError: if another process holds the lock.
    """
    if os.name != "posix":
        yield
        return
    import fcntl

    end = monotonic() + patience
    with file_errors(folder):
        descriptor = os.open(folder, os.O_RDONLY)
    try:
        while True:
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if monotonic() > end:
                    raise InputError(
                        f"{folder}: another process is writing there; wait until it ends, or name "
                        "another folder"
                    ) from None
                sleep(0.1)
            except OSError:  # locks are not supported
                break
        yield
    finally:
        os.close(descriptor)


@contextmanager
def temporary_folder(parent: Path) -> Iterator[Path]:
    """Create a folder inside `parent`, and remove it with its content at the end of the block.

    It is on the same disk, so that files can be moved out atomically. Folders left by killed
    processes are removed, too; nobody holds their locks.

    Args:
        parent: created if missing.

    Raises:
        InputError: if the block raises an OSError, or the folder cannot be created.
    """
    folder = None
    try:
        with file_errors(parent):
            parent.mkdir(parents=True, exist_ok=True)
            for left in parent.glob(f"{_PREFIX}*"):
                if (left / _MARK).is_file() and not left.is_symlink():
                    with suppress(OSError, InputError), locked(left, patience=0):
                        rmtree(left)
            folder = Path(mkdtemp(prefix=_PREFIX, dir=parent))
            with locked(folder, patience=0):
                (folder / _MARK).touch()
                yield folder
    finally:
        if folder is not None:
            rmtree(folder, ignore_errors=True)
