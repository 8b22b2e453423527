"""A recorded video: every frame, with the time stamps of the file."""

from collections.abc import Iterator
from fractions import Fraction
from typing import TYPE_CHECKING

from blitznet.inference.video.decoding import Frame, OpenedVideo, upright_image

if TYPE_CHECKING:
    from av.container import InputContainer


class VideoFile(OpenedVideo):
    """An opened recording, see `OpenedVideo`."""

    def __init__(self, container: "InputContainer", name: str, stem: str):
        super().__init__(container, name, stem)
        if self._stream.frames:
            self.total = self._stream.frames
        elif container.duration:
            self.total = round(Fraction(container.duration, 1_000_000) * self.rate)

    def __iter__(self) -> Iterator[Frame]:
        """Yields the frames, once.

        Times begin with the file, whose audio may come before its frames. A frame without a
        stamp, or with one that is not after the last, is shown one frame's duration after it.
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
