"""From what the user names to a list of pictures."""

import glob
from collections.abc import Iterable, Sequence
from pathlib import Path

from blitznet.errors import InputError
from blitznet.picture import PICTURE_SUFFIXES

STANDARD_INPUT = "-"


def find_pictures(
    sources: Sequence[str], listed: Iterable[str] = ()
) -> tuple[list[Path], list[str]]:
    """Pictures that the sources name, in the order in which they are named.

    Args:
        sources: each a file, a folder (its pictures by name, without those of folders inside), a
            glob pattern (`**` goes into folders), or `-` for `listed`.
        listed: lines that name files, folders or patterns, as of standard input; read only for `-`.

    Returns:
        The pictures, and one line for every source that gave none.
    """
    pictures: list[Path] = []
    problems: list[str] = []
    for source in sources:
        names = [line.strip() for line in listed] if source == STANDARD_INPUT else [source]
        names = [name for name in names if name]
        if not names:
            problems.append(f"{source}: nothing named; give files, folders or patterns, one a line")
        for name in names:
            try:
                pictures += _expand(name)
            except InputError as problem:
                problems.append(str(problem))
            except OSError as error:
                problems.append(f"{name}: cannot be read ({error.strerror})")
    return pictures, problems


def _expand(name: str) -> list[Path]:
    path = Path(name)
    if path.is_dir():
        return _pictures_of_folder(path)
    if path.exists():  # before patterns: a file may be called "[1].jpg"
        return [path]
    if any(character in name for character in "*?["):
        return _pictures_of_pattern(name)
    raise InputError(f"{name}: no such file or folder")


def _pictures_of_folder(folder: Path) -> list[Path]:
    pictures = sorted(path for path in folder.iterdir() if _is_picture(path))
    if not pictures:
        raise InputError(
            f"{folder}: no pictures in this folder; "
            f"for those in folders inside, name '{folder}/**/*.jpg'"
        )
    return pictures


def _pictures_of_pattern(pattern: str) -> list[Path]:
    matches = [Path(match) for match in sorted(glob.glob(pattern, recursive=True))]  # noqa: PTH207
    if Path(pattern).suffix:  # "*.dat" means what it says, "*" means the pictures
        pictures = [path for path in matches if path.is_file()]
    else:
        pictures = [path for path in matches if _is_picture(path)]
    if not pictures:
        raise InputError(f"{pattern}: no picture matches this pattern")
    return pictures


def _is_picture(path: Path) -> bool:
    """By name only. Hidden files are not: macOS leaves `._name.jpg` files that hold no picture."""
    has_suffix = path.suffix.lower() in PICTURE_SUFFIXES
    return has_suffix and not path.name.startswith(".") and path.is_file()
