"""Decode videos to upright images, skipping broken frames."""

from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import closing
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING

from PIL import Image

if TYPE_CHECKING:
    from av import Packet, VideoFrame, VideoStream
    from av.container import InputContainer

# Frames per second: default for streams without a rate, and a limit above that of any camera.
_DEFAULT_RATE = Fraction(25)
_MAX_RATE = 1000
# Image codecs: next to a video stream, such a stream is cover art.
_IMAGE_CODECS = frozenset({"bmp", "gif", "mjpeg", "png", "webp"})
# ITU-T H.273 code for an unspecified colour space.
_UNSPECIFIED = 2
# With more lines than PAL, an unspecified colour space means BT.709.
_STANDARD_DEFINITION_LINES = 576


@dataclass(frozen=True, eq=False)
class Frame:
    """A decoded frame.

    Attributes:
        image: upright RGB.
        index: index among the decodable frames, from 0 on.
        pts: timestamp in units of `time_base`; strictly increasing.
        time_base: unit of `pts` in seconds.
    """

    image: Image.Image
    index: int
    pts: int
    time_base: Fraction

    @property
    def time(self) -> float:
        """Timestamp in seconds from the start of the video."""
        return float(self.pts * self.time_base)


class OpenedVideo(ABC):
    """A video stream that is read once, frame by frame.

    Args:
        container: opened container; its main video stream is read, see `main_stream`.
        name: for messages and results.
        stem: for the names of result files.

    Attributes:
        is_live: whether frames are lost if they are not read in time.
        rate: average frames per second.
        total: expected number of frames, or None.
        pixel_shape: aspect ratio of a pixel, width by height; known from the first frame on.
        skipped: number of frames that could not be decoded; at the end, it includes frames lost
            because they depend on a broken one.
        dropped: number of frames of a live source that arrived while another was being processed.
        reconnects: number of reconnections to a live source.
        reason: why the stream ended.
    """

    is_live = False

    def __init__(self, container: "InputContainer", name: str, stem: str):
        self._container = container
        self._stream = main_stream(container)
        rate = Fraction(self._stream.average_rate or self._stream.guessed_rate or _DEFAULT_RATE)
        self.rate = rate if 0 < rate <= _MAX_RATE else _DEFAULT_RATE
        self.name = name
        self.stem = stem
        self.total: int | None = None
        self.pixel_shape = Fraction(1)
        self.skipped = self.dropped = self.reconnects = 0
        self.reason = "end"

    @abstractmethod
    def __iter__(self) -> Iterator[Frame]:
        """Yield frames with increasing timestamps."""

    def close(self) -> None:
        """Close the source."""
        self._container.close()

    def _decode(self, container: "InputContainer") -> Iterator["VideoFrame"]:
        """Yield the frames that are not broken.

        Raises:
            av.error.FFmpegError: if a live source is lost. A truncated file simply ends.
        """
        import av

        stream = main_stream(container)
        # Decoding several frames at once is faster, but delays the output by as many frames.
        stream.thread_type = "SLICE" if self.is_live else "AUTO"
        self.pixel_shape = Fraction(stream.sample_aspect_ratio or 1)
        skipped_before, sent, decoded = self.skipped, 0, 0
        # PyAV leaks a packet if the garbage collector ends this generator, which its types hide.
        with closing(container.demux(stream)) as packets:  # type: ignore[type-var]
            for packet in self._packets(packets, stream):
                sent += packet.size > 0
                try:
                    frames = packet.decode()
                except av.error.FFmpegError:
                    self.skipped += 1
                    continue
                for frame in frames:
                    if decoded == 0 and frame.rotation % 180:
                        self.pixel_shape = 1 / self.pixel_shape
                    decoded += 1
                    if frame.is_corrupt:
                        self.skipped += 1
                    else:
                        yield frame
        if self.skipped > skipped_before:
            self.skipped = max(self.skipped, skipped_before + sent - decoded)

    def _packets(
        self, packets: Iterator["Packet[VideoStream]"], stream: "VideoStream"
    ) -> Iterator["Packet[VideoStream]"]:
        """Yield packets; where a file breaks off, an empty one, which flushes the decoder."""
        import av

        try:
            yield from packets
        except av.error.FFmpegError:
            if self.is_live:
                raise
            flush = av.Packet()
            flush.stream = stream
            yield flush  # type: ignore[misc]


class VideoFile(OpenedVideo):
    """An opened recording, see `OpenedVideo`."""

    def __init__(self, container: "InputContainer", name: str, stem: str):
        super().__init__(container, name, stem)
        if self._stream.frames:
            self.total = self._stream.frames
        elif container.duration:
            self.total = round(Fraction(container.duration, 1_000_000) * self.rate)

    def __iter__(self) -> Iterator[Frame]:
        """Yield the frames, once.

        Timestamps start with the file, whose audio may start before the video. A frame whose
        timestamp is missing or not increasing follows the last frame by one frame's duration.
        """
        time_base = Fraction(self._stream.time_base or 1 / self.rate)
        first = round(Fraction(self._container.start_time or 0, 1_000_000) / time_base)
        step = max(1, round(1 / self.rate / time_base))
        last = -step
        index = -1
        for index, frame in enumerate(self._decode(self._container)):
            pts = last + step if frame.pts is None else frame.pts - first
            last = last + step if pts <= last else pts
            yield Frame(upright_image(frame), index, last, time_base)
        if index + 1 + self.skipped < self._stream.frames:
            self.reason = f"cut off, it should have {self._stream.frames} frames"


def main_stream(container: "InputContainer") -> "VideoStream":
    """Find the main video stream that can be decoded.

    Cover art or a preview may come first, or be marked as the default.
    """
    from av.stream import Disposition

    streams = [one for one in container.streams.video if one.codec_context is not None]
    moving = [one for one in streams if not one.disposition & Disposition.attached_pic] or streams
    films = [one for one in moving if one.codec_context.name not in _IMAGE_CODECS] or moving
    best = container.streams.best("video")
    return next((one for one in films if best is not None and one.index == best.index), films[0])


def upright_image(frame: "VideoFrame") -> Image.Image:
    """Convert a frame to RGB, rotated as its metadata says."""
    is_unmarked_hd = frame.colorspace == _UNSPECIFIED and frame.height > _STANDARD_DEFINITION_LINES
    matrix = "ITU709" if is_unmarked_hd else None
    image: Image.Image = frame.to_image(src_colorspace=matrix)  # type: ignore[no-untyped-call]
    turn = frame.rotation
    return image.rotate(turn, expand=True) if turn in (-180, -90, 90, 180) else image
