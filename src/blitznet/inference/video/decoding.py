"""From packets to upright pictures, past what is broken."""

from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING

from PIL import Image

from blitznet.errors import InputError
from blitznet.extras import require
from blitznet.inference.video.address import Address

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer
    from av.video.stream import VideoStream

# A source that says nothing for so long is lost, seconds to open it and to wait for a packet.
_TIMEOUT = (10, 10)

_TURN = {
    90: Image.Transpose.ROTATE_90,
    -90: Image.Transpose.ROTATE_270,
    180: Image.Transpose.ROTATE_180,
    -180: Image.Transpose.ROTATE_180,
}
# ITU-T H.273 code of a picture that does not say its colours.
_UNSPECIFIED = 2
# Above the lines of PAL, BT.709 is meant.
_STANDARD_DEFINITION_LINES = 576


def require_video() -> None:
    """Raises InputError if PyAV is not installed."""
    require("av", "video", "reading and writing videos")


def open_container(address: Address) -> "InputContainer":
    """Open what holds a video stream.

    Raises:
        InputError: if nothing is there, it is no video, or PyAV is not installed.
    """
    require_video()
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
        raise InputError(f"{address.name}: {_reason(error)}") from error
    if not container.streams.video:
        container.close()
        raise InputError(f"{address.name}: holds no video stream")
    return container


def _reason(error: "Exception") -> str:
    import av

    if isinstance(error, FileNotFoundError):
        return "no such file, camera or address"
    if isinstance(error, av.error.InvalidDataError):
        return "not a video that can be read, or cut off before its index"
    return f"cannot be opened ({getattr(error, 'strerror', None) or error})"


class FrameDecoder:
    """The frames of a container's first video stream, without the broken ones.

    Attributes:
        broken: frames so far that could not be decoded; at the end it includes those that went
            missing with the frame that they build on.
        pixel_shape: width of a pixel by its height, as a person sees it; 1 for nearly all videos.
    """

    def __init__(self, container: "InputContainer", is_live: bool):
        self._container = container
        self.stream: VideoStream = container.streams.video[0]
        # Decoding several frames at once is faster, and late by as many frames.
        self.stream.thread_type = "SLICE" if is_live else "AUTO"
        self._is_live = is_live
        self.broken = 0
        self.pixel_shape = Fraction(self.stream.sample_aspect_ratio or 1)

    def __iter__(self) -> Iterator["VideoFrame"]:
        """Yields decoded frames.

        Raises:
            av.error.FFmpegError: if a live source is lost. A file that is cut off just ends.
        """
        import av

        packets = self._container.demux(self.stream)
        sent = decoded = 0
        while True:
            try:
                packet = next(packets)
            except StopIteration:
                break
            except av.error.FFmpegError:
                if self._is_live:
                    raise
                # An empty one asks the decoder for what it still holds.
                packet = av.Packet()  # type: ignore[assignment]
                packet.stream = self.stream
                packets = iter(())
            sent += packet.size > 0
            try:
                frames = packet.decode()
            except av.error.FFmpegError:
                self.broken += 1
                continue
            for frame in frames:
                if decoded == 0 and frame.rotation % 180:
                    self.pixel_shape = 1 / self.pixel_shape
                decoded += 1
                if frame.is_corrupt:
                    self.broken += 1
                else:
                    yield frame
        if self.broken:
            self.broken = max(self.broken, sent - decoded)


def upright_image(frame: "VideoFrame") -> Image.Image:
    """RGB pixels, turned as the phone that took them says."""
    matrix = "ITU709" if _is_unmarked_hd(frame) else None
    image: Image.Image = frame.to_image(src_colorspace=matrix)  # type: ignore[no-untyped-call]
    turn = _TURN.get(frame.rotation)
    return image if turn is None else image.transpose(turn)


def _is_unmarked_hd(frame: "VideoFrame") -> bool:
    return frame.colorspace == _UNSPECIFIED and frame.height > _STANDARD_DEFINITION_LINES
