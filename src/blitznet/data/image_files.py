"""Images in folders and in lists, and which file belongs to which image by its name."""

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
    """Raise a LabelError if that is no folder; `option` of the data description names it."""
    if not path.is_dir():
        reason = "is a file, not a folder" if path.exists() else "does not exist"
        raise LabelError(f"{path} {reason}; check `{option}`")


def find_images(folder: Path, option: str) -> list[Path]:
    """All images in a folder and its subfolders, by name, without hidden ones.

    Links are followed, but no folder is visited twice. `option` names the folder in a data
    description, for messages.

    Raises:
        LabelError: if it is not a folder or holds no image.
    """
    require_folder(folder, option)
    found: list[Path] = []
    visited: set[tuple[int, int]] = set()
    for parent, folders, files in os.walk(folder, followlinks=True):
        status = Path(parent).stat()
        if (status.st_dev, status.st_ino) in visited:  # a link that leads back
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
    """The images that a text file lists, one per line; blank lines are skipped.

    Raises:
        LabelError: if it is missing, no text, empty, or lists what no file system can hold.
    """
    lines = [line.strip() for line in read_text(path, LabelError).splitlines() if line.strip()]
    if not lines:
        raise LabelError(f"{path} lists no image")
    for number, line in enumerate(lines, start=1):
        if not is_possible_path(path.parent / f"{line}.webp"):
            raise LabelError(f"{path}, image {number}: no file system has the name {shown(line)}")
    return lines


def file_key(path: Path, folder: Path, suffix: str = "") -> str:
    """What an image and its map share: the path in its folder, without ending and `suffix`."""
    return path.relative_to(folder).with_suffix("").as_posix().removesuffix(suffix)


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
    """The maps of images by key (`file_key`): files in the folder of maps; some may have none.

    Args:
        masks: the folder.
        keys: of the images.
        suffix: that the maps' names have behind those of the images, as "_mask".

    Raises:
        LabelError: if the folder is missing, two maps have the same key, or no image has a map.
    """
    maps, keys = files_by_key(find_images(masks, "masks"), masks, suffix), list(keys)
    found = {key: maps[key] for key in keys if key in maps}
    if not found:
        raise LabelError(
            f"no map in {masks} is called as an image: {keys[0]}{suffix}.png would be one; "
            f"check `masks`{' and `suffix`' if suffix else ', or add suffix: _mask or the like'}"
        )
    return found


def lookalikes(files: Iterable[Path], wanted: Iterable[Path]) -> Iterator[tuple[Path, Path]]:
    """Files that nothing claims and that differ in case or Unicode form only from a missing one.

    With each comes the one that is wanted.
    """
    by_name = {loose_name(path): path for path in wanted}
    for path in files:
        if (other := by_name.get(loose_name(path))) is not None:
            yield path, other


@lru_cache(maxsize=4)
def files_by_loose_name(folder: Path) -> dict[str, Path]:
    """The files of a folder as it was when first asked, for messages: see `loose_name`."""
    return {loose_name(path): path for path in folder.iterdir()} if folder.is_dir() else {}


def loose_name(path: Path) -> str:
    """A path without ending, letter case, Unicode form and the escapes of URLs."""
    return unicodedata.normalize("NFC", unquote(path.with_suffix("").as_posix())).casefold()
