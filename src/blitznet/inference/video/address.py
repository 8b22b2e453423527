"""What a user calls a video, a camera or a stream, and what FFmpeg calls it."""

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from urllib.parse import urlsplit, urlunsplit

# What a folder is searched for. A file that is named directly may be called anything.
VIDEO_SUFFIXES = frozenset(
    """.3gp .asf .avi .flv .m2ts .m4v .mjpeg .mjpg .mkv .mov .mp4 .mpeg .mpg .mts .ogv .ts .vob
    .webm .wmv""".split()  # noqa: SIM905
)

# Protocols that never give a recording; over the others in `_URL` either may come.
_LIVE_SCHEMES = frozenset({"rtsp", "rtsps", "rtmp", "rtmps", "rtp", "udp", "srt", "tcp"})
_URL = re.compile(rf"({'|'.join(sorted(_LIVE_SCHEMES))}|https?)://\S+", re.IGNORECASE)
_CAMERA = re.compile(r"\d{1,3}|/dev/video\d+")

# A file may be a playlist; it is not to send anybody to the network.
_LOCAL = {"protocol_whitelist": "file,crypto,data"}


@dataclass(frozen=True)
class Address:
    """Where frames come from.

    Attributes:
        name: for messages and results; a password in a URL is left out.
        target: what FFmpeg opens.
        stem: for the names of result files.
        is_live: whether it goes on whether or not anybody looks; None = seen when it is opened.
        format: FFmpeg's input device of a camera, or None.
        options: for FFmpeg.
    """

    name: str
    target: str
    stem: str
    is_live: bool | None = False
    format: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)


def is_stream_name(name: str) -> bool:
    """Whether this is a camera (`0`, `/dev/video0`) or a URL; a file of that name comes first."""
    return bool(_URL.fullmatch(name) or _CAMERA.fullmatch(name))


def find_address(name: str) -> Address:
    """The address of a video file, a camera or a URL; nothing is opened."""
    if _URL.fullmatch(name):
        return _url_address(name)
    if _CAMERA.fullmatch(name) and not Path(name).is_file():
        return _camera_address(name)
    return Address(name, f"file:{name}", Path(name).stem, options=_LOCAL)


def _url_address(url: str) -> Address:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    stem = _file_name(PurePosixPath(parts.path).stem) or _file_name(host)
    is_rtsp = parts.scheme.lower().startswith("rtsp")
    return Address(
        name=urlunsplit(parts._replace(netloc=host)),
        target=url,
        stem=stem,
        is_live=True if parts.scheme.lower() in _LIVE_SCHEMES else None,
        # Over UDP, RTSP loses packets wherever a camera is behind a router.
        options={"rtsp_transport": "tcp"} if is_rtsp else {},
    )


def _file_name(text: str) -> str:
    return re.sub(r"[^\w.-]+", "-", text).strip(".-")


def _camera_address(name: str) -> Address:
    number = name.removeprefix("/dev/video")
    stem = f"camera{number}"
    if sys.platform == "darwin":
        # AVFoundation refuses its own default of 29.97 frames a second.
        options = {"framerate": "30"}
        return Address(name, f"{number}:none", stem, True, "avfoundation", options)
    if sys.platform == "win32":
        return Address(name, f"video={_directshow_name(int(number))}", stem, True, "dshow")
    return Address(name, f"/dev/video{number}", stem, True, "v4l2")


def _directshow_name(index: int) -> str:
    """DirectShow knows cameras by name alone; one that is not there gets a name that is not."""
    from av.device import enumerate_input_devices

    cameras = [
        device.name for device in enumerate_input_devices("dshow") if "video" in device.media_types
    ]
    return cameras[index] if index < len(cameras) else str(index)
