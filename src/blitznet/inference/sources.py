"""From what the user names to pictures and videos."""

import glob
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit

from blitznet.errors import InputError
from blitznet.image import PICTURE_SUFFIXES
from blitznet.inference.video.address import VIDEO_SUFFIXES, is_stream_name

STANDARD_INPUT = "-"

_ALL_SUFFIXES = PICTURE_SUFFIXES | VIDEO_SUFFIXES


@dataclass(frozen=True)
class Video:
    """A video file, a camera's number or a URL; nothing is opened yet."""

    name: str


def find_sources(
    sources: Sequence[str], listed: Iterable[str] = ()
) -> tuple[list[Path | Video], list[str]]:
    """Pictures and videos that the sources name, in the order in which they are named.

    Args:
        sources: each a file, a folder (its pictures and videos by name, without those of folders
            inside), a glob pattern (`**` goes into folders), a camera's number, a URL, or `-` for
            `listed`.
        listed: lines that name sources, as of standard input; read only for `-`.

    Returns:
        Paths of pictures, and videos; and one line for every source that gave none.
    """
    found: list[Path | Video] = []
    problems: list[str] = []
    for source in sources:
        names = [line.strip() for line in listed] if source == STANDARD_INPUT else [source]
        names = [name for name in names if name]
        if not names:
            problems.append(f"{source}: nothing named; give files, folders or patterns, one a line")
        for name in names:
            try:
                found += _expand(name)
            except InputError as problem:
                problems.append(str(problem))
            except OSError as error:
                problems.append(f"{name}: cannot be read ({error.strerror})")
    return found, problems


def find_pictures(
    sources: Sequence[str], listed: Iterable[str] = ()
) -> tuple[list[Path], list[str]]:
    """As `find_sources`, where videos are not wanted."""
    found, problems = find_sources(sources, listed)
    problems += [
        f"{video.name}: a video, where a picture was wanted; use blitznet predict"
        for video in found
        if isinstance(video, Video)
    ]
    return [path for path in found if isinstance(path, Path)], problems


def paths_of(sources: Sequence[Path | Video]) -> list[Path]:
    """Where sources lie that are files; cameras and URLs give paths that are not there."""
    return [Path(one.name) if isinstance(one, Video) else one for one in sources]


def find_watched_folder(sources: Sequence[str]) -> Path:
    """The one folder that is to be watched.

    Raises:
        InputError: if it is not one, or no folder.
    """
    if len(sources) != 1 or not Path(sources[0]).is_dir():
        raise InputError(f"--watch takes one folder, got {' '.join(sources)}")
    return Path(sources[0])


def is_picture(path: Path) -> bool:
    """By name only. Hidden files are not: macOS leaves `._name.jpg` files that hold no picture."""
    return _is_of_kind(path, PICTURE_SUFFIXES)


def _expand(name: str) -> list[Path | Video]:
    path = Path(name)
    if path.is_dir():
        return _found_in_folder(path)
    if path.exists() and not path.is_char_device():  # before patterns: a file may be "[1].jpg"
        return [_picture_or_video(path)]
    if is_stream_name(name):
        if "://" in name and Path(urlsplit(name).path).suffix.lower() in PICTURE_SUFFIXES:
            raise InputError(f"{name}: a picture somewhere else; download it first")
        return [Video(name)]
    if any(character in name for character in "*?["):
        return _found_by_pattern(name)
    raise InputError(f"{name}: no such file or folder")


def _found_in_folder(folder: Path) -> list[Path | Video]:
    found = sorted(path for path in folder.iterdir() if _is_of_kind(path, _ALL_SUFFIXES))
    if not found:
        raise InputError(
            f"{folder}: no pictures in this folder; "
            f"for those in folders inside, name '{folder}/**/*.jpg'"
        )
    return [_picture_or_video(path) for path in found]


def _found_by_pattern(pattern: str) -> list[Path | Video]:
    matches = [Path(match) for match in sorted(glob.glob(pattern, recursive=True))]  # noqa: PTH207
    if Path(pattern).suffix:  # "*.dat" means what it says, "*" means the pictures and videos
        found = [path for path in matches if path.is_file()]
    else:
        found = [path for path in matches if _is_of_kind(path, _ALL_SUFFIXES)]
    if not found:
        raise InputError(f"{pattern}: no picture matches this pattern")
    return [_picture_or_video(path) for path in found]


def _picture_or_video(path: Path) -> Path | Video:
    return Video(str(path)) if path.suffix.lower() in VIDEO_SUFFIXES else path


def _is_of_kind(path: Path, suffixes: frozenset[str]) -> bool:
    has_suffix = path.suffix.lower() in suffixes
    return has_suffix and not path.name.startswith(".") and path.is_file()
