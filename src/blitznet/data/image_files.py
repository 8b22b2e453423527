"""Images in folders, and which file belongs to which image by its name."""

import os
import unicodedata
from collections.abc import Iterable, Iterator
from pathlib import Path

from blitznet.errors import LabelError
from blitznet.image import IMAGE_SUFFIXES

_SUFFIXES = tuple(IMAGE_SUFFIXES)


def find_images(folder: Path, option: str) -> list[Path]:
    """All images in a folder and its subfolders, by name, without hidden ones.

    Args:
        folder: to search; links are followed, but no folder is visited twice.
        option: of a data description, that names the folder, for messages.

    Raises:
        LabelError: if it is not a folder or holds no image.
    """
    if not folder.is_dir():
        reason = "is a file, not a folder" if folder.exists() else "does not exist"
        raise LabelError(f"{folder} {reason}; check `{option}`")
    found: list[Path] = []
    visited: set[tuple[int, int]] = set()
    for parent, folders, files in os.walk(folder, followlinks=True):
        status = Path(parent).stat()
        if (status.st_dev, status.st_ino) in visited:  # a link that leads back
            folders.clear()
            continue
        visited.add((status.st_dev, status.st_ino))
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [
            Path(parent, name)
            for name in files
            if not name.startswith(".") and name.lower().endswith(_SUFFIXES)
        ]
    if not found:
        raise LabelError(f"{folder} holds no image; check `{option}`")
    return sorted(found)


def file_key(path: Path, folder: Path, suffix: str = "") -> str:
    """What an image and its map share: the path in its folder, without ending and `suffix`."""
    return path.relative_to(folder).with_suffix("").as_posix().removesuffix(suffix)


def lookalikes(files: Iterable[Path], wanted: Iterable[Path]) -> Iterator[tuple[Path, Path]]:
    """Files that differ from a wanted one in case or Unicode form only, and that one.

    Args:
        files: those that are there and that nothing claims.
        wanted: those that are not there.
    """
    by_look = {_look(path): path for path in wanted}
    for path in files:
        if (other := by_look.get(_look(path))) is not None:
            yield path, other


def _look(path: Path) -> str:
    return unicodedata.normalize("NFC", path.with_suffix("").as_posix()).casefold()


def files_by_key(files: Iterable[Path], folder: Path, suffix: str = "") -> dict[str, Path]:
    """Files by `file_key`; those whose names do not end with `suffix` are left out.

    Raises:
        LabelError: if two differ in nothing but their ending.
    """
    found: dict[str, Path] = {}
    for path in files:
        if not path.stem.endswith(suffix):
            continue
        first = found.setdefault(file_key(path, folder, suffix), path)
        if first is not path:
            raise LabelError(
                f"{first} and {path.name} differ in their ending only; rename or remove one"
            )
    return found


def find_maps(masks: Path, keys: Iterable[str], suffix: str = "") -> dict[str, Path]:
    """The maps of images: files of the same key in the folder of maps.

    Args:
        masks: the folder.
        keys: of the images, see `file_key`.
        suffix: that the maps' names have behind those of the images, as "_mask".

    Returns:
        By key; an image without a file has no map.

    Raises:
        LabelError: if the folder is missing, two maps have the same key, or no image has a map.
    """
    maps = files_by_key(find_images(masks, "masks"), masks, suffix)
    keys = list(keys)
    found = {key: maps[key] for key in keys if key in maps}
    if not found:
        raise LabelError(
            f"no map in {masks} is called as an image: {keys[0]}{suffix}.png would be one; "
            "check `masks`" + (" and `suffix`" if suffix else "")
        )
    return found
