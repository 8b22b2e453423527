"""A source that does not wait: its latest frame, what was dropped, and coming back after a loss."""

from collections.abc import Callable, Iterator
from fractions import Fraction
from threading import Condition, Thread
from time import monotonic
from typing import TYPE_CHECKING

from blitznet.errors import InputError
from blitznet.inference.video.decoding import Frame, OpenedVideo, upright_image

if TYPE_CHECKING:
    from av import VideoFrame
    from av.container import InputContainer

STOPPED = "asked to stop"

# Arrival is known no better.
TIME_BASE = Fraction(1, 1000)
# A lost source is asked for again after this many seconds, then after twice as many, and so on.
FIRST_PAUSE = 1.0
MAX_PAUSE = 30.0
# How often a waiting thread looks whether it is to stop, seconds.
_TICK = 0.1


class LiveVideo(OpenedVideo):
    """A camera or a stream, read in a thread that keeps the latest frame only.

    Args:
        container: opened; closed by the thread.
        reopen: opens the source again after it was lost; raises InputError where it cannot.
        name: for messages and results.
        stem: for the names of result files.
        attempts: reconnection attempts before it is given up.

    Attributes:
        should_stop: asked often; the source ends when it is true, and `reason` is STOPPED.
    """

    is_live = True

    def __init__(
        self,
        container: "InputContainer",
        reopen: Callable[[], "InputContainer"],
        name: str,
        stem: str,
        attempts: int,
    ):
        super().__init__(container, name, stem)
        self.should_stop: Callable[[], bool] = lambda: False
        self._reopen = reopen
        self._attempts = attempts
        self._is_closed = False
        self._has_ended = False
        self._latest: tuple[VideoFrame, float] | None = None
        self._change = Condition()
        self._thread = Thread(target=self._capture, name=f"capture {name}", daemon=True)

    def __iter__(self) -> Iterator[Frame]:
        """Yields the latest frame, again and again, each once.

        Times are those of arrival, from the first frame on, so that a loss shows as a gap.
        """
        self._thread.start()
        begin = None
        index, last = 0, -1
        while (arrival := self._take()) is not None:
            frame, time = arrival
            begin = time if begin is None else begin
            last = max(last + 1, round((time - begin) / TIME_BASE))
            yield Frame(upright_image(frame), index, last, TIME_BASE)
            index += 1

    def close(self) -> None:
        """Let the thread end; it closes the source."""
        self._is_closed = True
        if self._thread.is_alive():
            self._thread.join(timeout=2)  # longer only where FFmpeg waits for a silent source
        elif not self._has_ended:
            self._container.close()

    def _take(self) -> "tuple[VideoFrame, float] | None":
        with self._change:
            while self._latest is None and not self._has_ended and not self._is_over():
                self._change.wait(_TICK)
            if self._is_over():
                return None
            arrival, self._latest = self._latest, None
            return arrival

    def _is_over(self) -> bool:
        if not self._is_closed and self.should_stop():
            self._is_closed = True
            self.reason = STOPPED
        return self._is_closed

    def _capture(self) -> None:
        """Runs in the thread."""
        try:
            container: InputContainer | None = self._container
            while container is not None:
                why = self._read(container)
                container = None if self._is_closed else self._reconnect(why)
        finally:
            with self._change:
                self._has_ended = True
                self._change.notify()

    def _read(self, container: "InputContainer") -> str:
        """Take frames until the source is lost; returns why."""
        import av

        try:
            for frame in self._decode(container):
                with self._change:
                    self.dropped += self._latest is not None
                    self._latest = frame, monotonic()
                    self._change.notify()
                if self._is_closed:
                    return "closed"
        except av.error.FFmpegError as error:
            return str(error.strerror or error)
        finally:
            container.close()
        return "it ended"

    def _reconnect(self, why: str) -> "InputContainer | None":
        pause = FIRST_PAUSE
        for _ in range(self._attempts):
            deadline = monotonic() + pause
            with self._change:
                while not self._is_closed and (left := deadline - monotonic()) > 0:
                    self._change.wait(min(left, _TICK))
            if self._is_closed:
                return None
            try:
                container = self._reopen()
            except InputError:
                pause = min(2 * pause, MAX_PAUSE)
                continue
            self.reconnects += 1
            return container
        self.reason = f"lost ({why})"
        return None
