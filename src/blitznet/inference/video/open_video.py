"""From what a user calls a video, a camera or a stream to an opened one."""

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

# Not playlists, such as HLS's and FFmpeg's own, which lead to other files and to the network.
_LOCAL = {
    "protocol_whitelist": "file",
    "format_whitelist": "3gp,asf,avi,flv,h264,hevc,matroska,mjpeg,mov,mp4,mpeg,mpegts,mpegvideo,"
    "ogg,webm",
}
# A source that sends nothing for this long is lost: seconds to open it and to wait for a packet.
_TIMEOUT = (10, 10)


def open_video(name: str, attempts: int = 5) -> VideoFile | LiveVideo:
    """Open a video file, a camera or a URL.

    Args:
        name: a file, a camera's number, `/dev/videoN`, or a URL (rtsp, http, ...).
        attempts: reconnection attempts before a lost live source is given up.

    Raises:
        InputError: if there is no such thing, it is no video, or PyAV is not installed.
    """
    address = find_address(name)
    if address.format is None and address.is_live is False and not Path(name).is_file():
        raise InputError(f"{name}: no such file")
    container = _open_container(address)
    is_live = _seems_live(container) if address.is_live is None else address.is_live
    if not is_live:
        return VideoFile(container, address.name, address.stem)
    reopen = partial(_open_container, address)
    return LiveVideo(container, reopen, address.name, address.stem, attempts)


def _open_container(address: "StreamAddress") -> "InputContainer":
    """See `open_video`."""
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
            reason = "not a video that can be read, or cut off before its index"
        else:
            reason = f"cannot be opened ({error.strerror or error})"
        raise InputError(f"{address.name}: {reason}") from error
    if all(stream.codec_context is None for stream in container.streams.video):
        container.close()
        raise InputError(f"{address.name}: holds no video stream that can be decoded")
    return container


def _seems_live(container: "InputContainer") -> bool:
    """Of HTTP: what has neither a duration nor, if it is one file, a length has no end."""
    is_one_file = container.format.name not in ("hls", "dash")
    return not container.duration and not (is_one_file and container.size > 0)


@dataclass(frozen=True)
class StreamAddress:
    """Where frames come from.

    Attributes:
        name: for messages and results; a password in a URL is left out.
        target: what FFmpeg opens.
        stem: for the names of result files.
        is_live: whether frames are lost while nobody reads; None = known once it is opened.
        format: FFmpeg's input device of a camera, or None.
        options: for FFmpeg.
    """

    name: str
    target: str
    stem: str
    is_live: bool | None = False
    format: str | None = None
    options: Mapping[str, str] = field(default_factory=dict)


def find_address(name: str) -> StreamAddress:
    """The address of a video file, a camera or a URL; nothing is opened."""
    if is_url(name):
        return _url_address(name)
    if not is_stream(name):
        return StreamAddress(name, f"file:{name}", Path(name).stem, options=_LOCAL)
    number = name.removeprefix("/dev/video")
    return StreamAddress(name, f"/dev/video{number}", f"camera{number}", True, "v4l2")


def _url_address(url: str) -> StreamAddress:
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    stems = (re.sub(r"[^\w.-]+", "-", text).strip(".-") for text in (Path(parts.path).stem, host))
    return StreamAddress(
        name=urlunsplit(parts._replace(netloc=host)),
        target=url,
        stem=next(filter(None, stems)),
        is_live=True if parts.scheme.lower() in LIVE_SCHEMES else None,
        # Over UDP, RTSP loses packets wherever a camera is behind a router.
        options={"rtsp_transport": "tcp"} if parts.scheme.lower().startswith("rtsp") else {},
    )
