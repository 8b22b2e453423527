"""Find the images, videos and watched folder that the user names."""

import glob
import os
import re
import shlex
from codecs import BOM_UTF8
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO
from urllib.parse import urlsplit

from blitznet.errors import InputError
from blitznet.extras import require
from blitznet.image import IMAGE_SUFFIXES, MAX_PIXELS, EncodedImage

STANDARD_INPUT = "-"

# Suffixes of videos to look for in a folder. A file that is given by name may have any suffix.
VIDEO_SUFFIXES = frozenset(
    """.3gp .asf .avi .flv .m2ts .m4v .mjpeg .mjpg .mkv .mov .mp4 .mpeg .mpg .mts .ogv .ts .vob
    .webm .wmv""".split()  # noqa: SIM905
)
# Protocols that are always live; HTTP can be live or a recording.
LIVE_SCHEMES = frozenset({"rtsp", "rtsps", "rtmp", "rtmps", "rtp", "udp", "srt", "tcp"})

_URL = re.compile(rf"({'|'.join(sorted(LIVE_SCHEMES))}|https?)://\S+", re.IGNORECASE)
_CONTROL = re.compile(rb"[\x00-\x08\x0e-\x1f]")
_HEAD = 4096
_MAX_STDIN = 4 * MAX_PIXELS  # bytes; that many pixels as uncompressed RGBA
_CAMERA = re.compile(r"\d{1,3}|/dev/video\d+")


@dataclass(frozen=True)
class Video:
    """A video file, camera number or URL, not opened yet."""

    name: str

    @property
    def is_file(self) -> bool:
        """Whether it is a file, not a camera or a URL."""
        return not is_stream(self.name)


@dataclass(frozen=True)
class WatchedFolder:
    """A folder whose images are predicted as they arrive.

    Attributes:
        folder: folder to watch, without its subfolders.
        idle_seconds: stop when no image arrives for this long; None = never.
    """

    folder: Path
    idle_seconds: float | None = None


Source = Path | EncodedImage | Video | WatchedFolder  # the first two are images


def find_sources(
    sources: Sequence[str], stdin: BinaryIO | None = None
) -> tuple[list[Source], list[str]]:
    """Find the images and videos that the user names, in the given order.

    Args:
        sources: files, folders (their images and videos sorted by name, without subfolders), glob
            patterns (`**` matches subfolders), camera numbers, URLs, or `-` for `stdin`.
        stdin: an image, or sources, one per line or separated by null bytes (`find -print0`); read
            only for `-`.

    Returns:
        Images and videos, and one line for every source without any.
    """
    found: list[Source] = []
    problems: list[str] = []
    for source in sources:
        names = [source] if source else []  # of an unset variable; not the working folder
        if source == STANDARD_INPUT:
            content = b"" if stdin is None else stdin.read(_MAX_STDIN + 1)
            if len(content) > _MAX_STDIN:
                limit = f"{_MAX_STDIN // 1_000_000} MB"
                problems.append(f"-: standard input has more than {limit}; give files or folders")
                continue
            content = content.removeprefix(BOM_UTF8)
            # A list of names has no control characters, except for null bytes between its names.
            is_binary = bool(_CONTROL.search(content[:_HEAD]))
            if is_binary and not os.path.lexists(content.partition(b"\0")[0]):
                found.append(EncodedImage(content, "stdin"))
                continue
            lines = content.split(b"\0") if b"\0" in content else content.splitlines()
            names = [name for line in lines if (name := os.fsdecode(line).strip())]
        if not names:
            problems.append(
                f"{source or repr(source)}: nothing named; "
                "give files, folders or patterns, one per line"
            )
        for name in names:
            try:
                found += _expand(name)
            except InputError as problem:
                problems.append(str(problem))
            except (OSError, ValueError) as error:  # ValueError: a null byte
                problems.append(f"{name}: cannot be read ({getattr(error, 'strerror', error)})")
    return found, problems


def file_of(source: Source) -> Path:
    """Path to name the results after."""
    if isinstance(source, Path):
        return source
    return source.folder / "image" if isinstance(source, WatchedFolder) else Path(source.name)


def kind_of(source: Source) -> str | None:
    """`images` or `videos`, for counting; None for a watched folder, whose count is unknown."""
    if isinstance(source, WatchedFolder):
        return None
    return "videos" if isinstance(source, Video) else "images"


def find_given(
    sources: Sequence[str], watch: bool, idle_seconds: float | None, stdin: BinaryIO | None
) -> tuple[list[Source], list[str]]:
    """Find sources like `find_sources`, or with `watch`, the folder to watch.

    Raises:
        InputError: if `watch` is given and `sources` is not one folder.
    """
    if not watch:
        return find_sources(sources, stdin)
    if len(sources) != 1 or not Path(sources[0]).is_dir():
        raise InputError(f"--watch takes one folder, got {' '.join(sources)}")
    return [WatchedFolder(Path(sources[0]), idle_seconds)], []


def check_sources(sources: Sequence[Source], has_label_formats: bool, track: bool) -> None:
    """Find mistakes before loading a network.

    Raises:
        InputError: if label formats are given for sources other than images, or a package for
            videos or tracking is missing.
    """
    if has_label_formats and any(isinstance(one, Video | WatchedFolder) for one in sources):
        raise InputError("--format writes labels for images, not for videos or with --watch")
    if any(isinstance(source, Video) for source in sources):
        require("av", "video", "a video")
    if track:
        require("trackers", "track", "--track")


def has_many_images(sources: Sequence[Source]) -> bool:
    """Whether to optimise throughput, which is useless for one image or a live source."""
    only = sources[0]
    return len(sources) > 1 or (isinstance(only, Video) and only.is_file)


def is_url(name: str) -> bool:
    """Whether this is the URL of a video or a stream."""
    return bool(_URL.fullmatch(name))


def is_stream(name: str) -> bool:
    """Whether this is a camera (`0`, `/dev/video0`) or a URL, and not a file of that name."""
    return is_url(name) or (bool(_CAMERA.fullmatch(name)) and not Path(name).is_file())


def is_image(path: Path, suffixes: frozenset[str] = IMAGE_SUFFIXES) -> bool:
    """Whether a file is an image by its name. Skips hidden files such as macOS's `._name.jpg`."""
    has_suffix = path.suffix.lower() in suffixes
    return has_suffix and not path.name.startswith(".") and path.is_file()


def _expand(name: str) -> list[Source]:
    path = Path(name)
    if path.is_dir():
        found = sorted(filter(_is_image_or_video, path.iterdir()))
        nothing = f"no images in this folder; to search its subfolders, use '{path}/**'"
    elif path.exists() and not path.is_char_device():  # check before patterns, for "[1].jpg"
        return [_source_of(path)]
    elif is_stream(name):
        if is_url(name) and Path(urlsplit(name).path).suffix.lower() in IMAGE_SUFFIXES:
            raise InputError(
                f"{name}: images on the web are not downloaded; run: "
                f"curl -sSL {shlex.quote(name)} | blitznet predict -"
            )
        return [Video(name)]
    elif glob.has_magic(name):
        matches = [Path(match) for match in sorted(glob.glob(name, recursive=True))]  # noqa: PTH207
        # "*.dat" matches any file, "*" only images and videos.
        found = list(filter(Path.is_file if path.suffix else _is_image_or_video, matches))
        nothing = "no image matches this pattern"
    else:
        raise InputError(f"{name}: no such file or folder")
    if not found:
        raise InputError(f"{name}: {nothing}")
    return [_source_of(path) for path in found]


def _source_of(path: Path) -> Source:
    return Video(str(path)) if path.suffix.lower() in VIDEO_SUFFIXES else path


def _is_image_or_video(path: Path) -> bool:
    return is_image(path, IMAGE_SUFFIXES | VIDEO_SUFFIXES)
