"""Find images in folders and lists, and match other files to them by name."""

import os
import unicodedata
from collections.abc import Iterable, Iterator
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote

from blitznet.errors import LabelError, shown
from blitznet.files.plain_names import is_possible_path
from blitznet.files.text_files import read_text
from blitznet.image import IMAGE_SUFFIXES

_SUFFIXES = tuple(IMAGE_SUFFIXES)


def require_folder(path: Path, option: str) -> None:
    """Raise a LabelError if `path` is not a folder; `option` is its key in the data description."""
    if not path.is_dir():
        reason = "is a file, not a folder" if path.exists() else "does not exist"
        raise LabelError(f"{path.absolute()} {reason}; check `{option}`")


def find_images(folder: Path, option: str) -> list[Path]:
    """All images in a folder and its subfolders, sorted by path, without hidden ones.

    Links are followed, but no folder is visited twice. `option` is the folder's key in the data
    description, for messages.

    Raises:
        LabelError: if `folder` is not a folder or contains no image.
    """
    require_folder(folder, option)
    found: list[Path] = []
    visited: set[tuple[int, int]] = set()
    for parent, folders, files in os.walk(folder, followlinks=True):
        status = Path(parent).stat()
        if (status.st_dev, status.st_ino) in visited:  # a link back
            folders.clear()
            continue
        visited.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        images = (name for name in files if name.lower().endswith(_SUFFIXES))
        found += [Path(parent, name) for name in images if not name.startswith(".")]
    if not found:
        raise LabelError(f"{folder} holds no image; check `{option}`")
    return sorted(found)


def read_list(path: Path) -> list[str]:
    """The images listed in a text file, one per line; blank lines are skipped.

    Raises:
        LabelError: if the file is missing, not text or empty, or lists an impossible name.
    """
    lines = [line.strip() for line in read_text(path, LabelError).splitlines() if line.strip()]
    if not lines:
        raise LabelError(f"{path} lists no image")
    for number, line in enumerate(lines, start=1):
        if not is_possible_path(path.parent / f"{line}.webp"):
            raise LabelError(f"{path}, image {number}: no file system has the name {shown(line)}")
    return lines


def file_key(path: Path, folder: Path) -> str:
    """Key that an image shares with its other files: the relative path without extension."""
    return path.relative_to(folder).with_suffix("").as_posix()


def files_by_key(files: Iterable[Path], folder: Path) -> dict[str, Path]:
    """Files by `file_key`.

    Raises:
        LabelError: if two files differ only in their extension.
    """
    found: dict[str, Path] = {}
    for path in files:
        if (first := found.setdefault(file_key(path, folder), path)) is not path:
            raise LabelError(
                f"{first} and {path.name} differ only in their ending; rename or remove one"
            )
    return found


def find_maps(masks: Path, keys: Iterable[str], suffix: str = "") -> dict[str, Path]:
    """Segmentation maps by the key of their image (`file_key`); some images may have none.

    Args:
        masks: folder of the maps.
        keys: keys of the images.
        suffix: what the map's name has after the image's, such as "_mask".

    Raises:
        LabelError: if the folder is missing, two maps have the same key, or no image has a map.
    """
    files = [path for path in find_images(masks, "masks") if path.stem.endswith(suffix)]
    maps, keys = files_by_key(files, masks), list(keys)
    found = {key: maps[key + suffix] for key in keys if key + suffix in maps}
    if not found:
        raise LabelError(
            f"no map in {masks} has the name of an image, such as {keys[0]}{suffix}.png; "
            f"check `masks`{' and `suffix`' if suffix else ', or add suffix: _mask or the like'}"
        )
    return found


def lookalikes(files: Iterable[Path], wanted: Iterable[Path]) -> Iterator[tuple[Path, Path]]:
    """Files that differ from a missing one only in case or Unicode form.

    Yields pairs of the file and the missing one.
    """
    by_name = {loose_name(path): path for path in wanted}
    for path in files:
        if (other := by_name.get(loose_name(path))) is not None:
            yield path, other


@lru_cache(maxsize=4)
def files_by_loose_name(folder: Path) -> dict[str, Path]:
    """The files of a folder by `loose_name`, for messages; cached since the first call."""
    return {loose_name(path): path for path in folder.iterdir()} if folder.is_dir() else {}


def loose_name(path: Path) -> str:
    """A path without extension and URL escapes, in lower case and one Unicode form."""
    return unicodedata.normalize("NFC", unquote(path.with_suffix("").as_posix())).casefold()
