"""Where a command writes its results."""

import os
from pathlib import Path

from blitznet.errors import InputError, writing


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
