"""Open video files, cameras and streams by name."""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit, urlunsplit

from blitznet.errors import InputError
from blitznet.extras import require
from blitznet.inference.sources import LIVE_SCHEMES, is_stream, is_url
from blitznet.inference.video.decoding import VideoFile
from blitznet.inference.video.live_video import LiveVideo

if TYPE_CHECKING:
    from av.container import InputContainer

# Excludes playlists such as HLS and FFmpeg's own, which refer to other files and to the network.
_LOCAL = {
    "protocol_whitelist": "file",
    "format_whitelist": "3gp,asf,avi,flv,h264,hevc,matroska,mjpeg,mov,mp4,mpeg,mpegts,mpegvideo,"
    "ogg,webm",
}
# Seconds without data after which a source is lost: when opening it, and when reading a packet.
_TIMEOUT = (10, 10)


def open_video(name: str, attempts: int = 5) -> VideoFile | LiveVideo:
    """Open a video file, a camera or a URL.

    Args:
        name: a file, a camera's number, `/dev/videoN`, or a URL (rtsp, http, ...).
        attempts: maximum number of attempts to reconnect to a live source.

    Raises:
        InputError: if it does not exist or is not a video, or PyAV is not installed.
    """
    address = find_address(name)
    if address.format is None and address.is_live is False and not Path(name).is_file():
        raise InputError(f"{name}: no such file")
    container = _open_container(address)
    is_live = address.is_live
    if is_live is None:  # it has no duration, and if it is one file, no length
        is_one_file = container.format.name not in ("hls", "dash")
        is_live = not container.duration and not (is_one_file and container.size > 0)
    if not is_live:
        return VideoFile(container, address.name, address.stem)
    reopen = partial(_open_container, address)
    return LiveVideo(container, reopen, address.name, address.stem, attempts)


def _open_container(address: "StreamAddress") -> "InputContainer":
    require("av", "video", "a video")
    import av

    try:
        container = av.open(
            address.target,
            mode="r",
            format=address.format,
            options=dict(address.options),
            timeout=_TIMEOUT,
            metadata_errors="replace",
        )
    except av.error.FFmpegError as error:
        if isinstance(error, FileNotFoundError):
            reason = "no such file, camera or address"
        elif isinstance(error, av.error.InvalidDataError) or (
            isinstance(error, av.error.ArgumentError) and address.options is _LOCAL
        ):
            reason = "not a readable video, or cut off before its index"
        else:
            reason = f"cannot be opened ({error.strerror or error})"
        raise InputError(f"{address.name}: {reason}") from error
    if all(stream.codec_context is None for stream in container.streams.video):
        container.close()
        raise InputError(f"{address.name}: holds no video stream that can be decoded")
    return container


@dataclass(frozen=True)
class StreamAddress:
    """Address of a video source.

    Attributes:
        name: for messages and results; without the user and password of a URL.
        target: path or URL for FFmpeg.
        stem: for the names of result files.
        is_live: whether frames are lost if not read in time; None = unknown until it is opened.
        format: FFmpeg's input device for a camera, or None.
        options: options for FFmpeg.
    """

    name: str
    target: str
    stem: str
    is_live: bool | None = False
    format: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)


def find_address(name: str) -> StreamAddress:
    """Find the address of a video file, camera or URL, without opening it."""
    if not is_stream(name):
        return StreamAddress(name, f"file:{name}", Path(name).stem, options=_LOCAL)
    if not is_url(name):
        number = name.removeprefix("/dev/video")
        return StreamAddress(name, f"/dev/video{number}", f"camera{number}", True, "v4l2")
    parts = urlsplit(name)
    host = parts.netloc.rpartition("@")[2]
    stems = (re.sub(r"[^\w.-]+", "-", text).strip(".-") for text in (Path(parts.path).stem, host))
    return StreamAddress(
        name=urlunsplit(parts._replace(netloc=host)),
        target=name,
        stem=next(filter(None, stems)),
        is_live=True if parts.scheme.lower() in LIVE_SCHEMES else None,
        # RTSP over UDP loses packets if the camera is behind a router.
        options={"rtsp_transport": "tcp"} if parts.scheme.lower().startswith("rtsp") else {},
    )
