"""From a name to an opened video, recorded or live."""

from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from blitznet.errors import InputError
from blitznet.inference.video.address import find_address
from blitznet.inference.video.decoding import open_container
from blitznet.inference.video.live_video import LiveVideo
from blitznet.inference.video.video_file import VideoFile

if TYPE_CHECKING:
    from av.container import InputContainer

DEFAULT_ATTEMPTS = 5


def open_video(name: str, attempts: int = DEFAULT_ATTEMPTS) -> VideoFile | LiveVideo:
    """Open a video file, a camera or a URL.

    Args:
        name: a file, a camera's number, `/dev/videoN`, or a URL (rtsp, http, ...).
        attempts: how often to ask for a lost live source before giving up.

    Raises:
        InputError: if there is no such thing, it is no video, or PyAV is not installed.
    """
    address = find_address(name)
    if address.format is None and address.is_live is False and not Path(name).is_file():
        raise InputError(f"{name}: no such file")
    container = open_container(address)
    is_live = _seems_live(container) if address.is_live is None else address.is_live
    if not is_live:
        return VideoFile(container, address.name, address.stem)
    reopen = partial(open_container, address)
    return LiveVideo(container, reopen, address.name, address.stem, attempts)


def _seems_live(container: "InputContainer") -> bool:
    """Of HTTP: what has neither a duration nor, if it is one file, a length has no end."""
    is_one_file = container.format.name not in ("hls", "dash")
    return not container.duration and not (is_one_file and container.size > 0)
