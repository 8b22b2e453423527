"""A recorded video: every frame, with the time stamps of the file."""

from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING

from blitznet.inference.video.decoding import FrameDecoder, upright_image
from blitznet.inference.video.frame import Frame

if TYPE_CHECKING:
    from av.container import InputContainer

# Of streams that do not say theirs.
DEFAULT_RATE = Fraction(25)


class VideoFile:
    """An opened recording.

    Args:
        container: as of `open_container`; closed by `close`.
        name: for messages and results.
        stem: for the names of result files.

    Attributes:
        rate: frames a second, on average.
        total: how many frames there should be, or None.
        reason: why it ended.
    """

    is_live = False
    dropped = 0
    reconnects = 0
    was_stopped = False

    def __init__(self, container: "InputContainer", name: str, stem: str):
        self._container = container
        self._decoder = FrameDecoder(container, is_live=False)
        self.name = name
        self.stem = stem
        self.reason = "end"
        stream = self._decoder.stream
        self.rate = Fraction(stream.average_rate or stream.guessed_rate or DEFAULT_RATE)
        self.total = self._count()

    @property
    def pixel_shape(self) -> Fraction:
        """Width of a pixel by its height, known from the first frame on."""
        return self._decoder.pixel_shape

    @property
    def skipped(self) -> int:
        """Frames that could not be decoded so far."""
        return self._decoder.broken

    def __iter__(self) -> Iterator[Frame]:
        """Yields the frames, once.

        Times begin with the file, whose audio may come before its pictures. A frame without a
        stamp, or with one that is not after the last, is shown one frame's duration after it.
        """
        stream = self._decoder.stream
        time_base = Fraction(stream.time_base or 1 / self.rate)
        first = round(Fraction(self._container.start_time or 0, 1_000_000) / time_base)
        step = max(1, round(1 / self.rate / time_base))
        last = -step
        index = -1
        for index, frame in enumerate(self._decoder):
            pts = last + step if frame.pts is None else frame.pts - first
            last = last + step if pts <= last else pts
            yield Frame(upright_image(frame), index, last, time_base)
        if index + 1 + self.skipped < stream.frames:
            self.reason = f"cut off, it should have {stream.frames} frames"

    def close(self) -> None:
        """Close the file."""
        self._container.close()

    def _count(self) -> int | None:
        stream = self._decoder.stream
        if stream.frames:
            return stream.frames
        if self._container.duration:
            return round(Fraction(self._container.duration, 1_000_000) * self.rate)
        return None
