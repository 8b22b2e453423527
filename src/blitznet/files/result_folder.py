"""Where a command writes its results, and folders for work in progress.

A killed process leaves such a folder, and the next run removes it.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from time import monotonic, sleep

from blitznet.errors import InputError, writing

# Workers of a process that was killed end within this time, and hold its lock until then.
PATIENCE_S = 10.0

_PREFIX, _MARK = ".blitznet-", "in-use"


def ensure_folder(folder: Path) -> Path:
    """The folder itself, made with its parents if it is not there.

    Raises:
        InputError: if it cannot be made.
    """
    with writing(folder):
        folder.mkdir(parents=True, exist_ok=True)
    return folder


def require_usable(out: Path | None, overwrite: bool = False) -> None:
    """Find early what `make_folder` would find, and make nothing.

    Raises:
        InputError: if the folder holds something, or is none.
    """
    if out is None:
        return
    with writing(out):
        if out.exists() and any(out.iterdir()) and not overwrite:
            raise InputError(f"{out}: not empty; name another folder, or add --overwrite")


def make_folder(out: Path | None, default: Path, overwrite: bool = False) -> Path:
    """The folder for a run's results, made if it is not there.

    Args:
        out: what the user named; None = `default`.
        default: as runs/predict; if it exists, the first of runs/predict-2, -3, ... that does not.
        overwrite: whether a folder that already holds something may be written into.

    Raises:
        InputError: if the folder holds something, or cannot be made.
    """
    with writing(out or default):
        if out is None:
            return _make_next(default)
        require_usable(out, overwrite)
        out.mkdir(parents=True, exist_ok=True)
        _require_no_links(out)
    return out


def _require_no_links(folder: Path) -> None:
    """Nothing is written through a link that somebody has left in the folder."""
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
    """Keep a folder for this process until the end of the block, however it ends.

    File systems without locks, and Windows, keep nobody out.

    Args:
        folder: exists.
        patience: seconds to wait for another process.

    Raises:
        InputError: if another process has it.
    """
    if os.name != "posix":
        yield
        return
    import fcntl

    end = monotonic() + patience
    with writing(folder):
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
            except OSError:  # no locks here
                break
        yield
    finally:
        os.close(descriptor)


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
