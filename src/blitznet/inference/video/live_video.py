"""A source that does not wait: its latest frame, what was dropped, and coming back after a loss."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from fractions import Fraction
from itertools import count
from queue import Empty, Queue
from threading import Event, Thread
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
# How often a waiting consumer looks whether it is to stop, seconds.
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
        self._latest: Queue[tuple[VideoFrame, float]] = Queue(maxsize=1)
        self._is_closed = Event()
        self._thread = Thread(target=self._capture, name=f"capture {name}", daemon=True)

    def __iter__(self) -> Iterator[Frame]:
        """Yields the latest frame, again and again, each once.

        Times are those of arrival, from the first frame on, so that a loss shows as a gap.
        """
        self._thread.start()
        begin, last = 0.0, -1
        for index in count():
            arrival = self._take()
            if arrival is None:
                return
            frame, time = arrival
            begin = begin or time
            last = max(last + 1, round((time - begin) / TIME_BASE))
            yield Frame(upright_image(frame), index, last, TIME_BASE)

    def close(self) -> None:
        """Let the thread end; it closes the source."""
        self._is_closed.set()
        if self._thread.is_alive():
            self._thread.join(timeout=2)  # longer only where FFmpeg waits for a silent source
        elif self._thread.ident is None:  # nothing was taken
            super().close()

    def _take(self) -> "tuple[VideoFrame, float] | None":
        while not self._is_closed.is_set():
            if self.should_stop():
                self._is_closed.set()
                self.reason = STOPPED
                return None
            is_last = not self._thread.is_alive()
            try:
                return self._latest.get(timeout=_TICK)
            except Empty:
                if is_last:
                    return None
        return None

    def _capture(self) -> None:
        """Runs in the thread."""
        container: InputContainer | None = self._container
        while container is not None:
            why = self._read(container)
            container = None if self._is_closed.is_set() else self._reconnect(why)

    def _read(self, container: "InputContainer") -> str:
        """Take frames until the source is lost; returns why."""
        import av

        try:
            for frame in self._decode(container):
                with suppress(Empty):
                    self._latest.get_nowait()
                    self.dropped += 1
                self._latest.put((frame, monotonic()))
                if self._is_closed.is_set():
                    return "closed"
        except av.error.FFmpegError as error:
            return str(error.strerror or error)
        finally:
            container.close()
        return "it ended"

    def _reconnect(self, why: str) -> "InputContainer | None":
        pause = FIRST_PAUSE
        for _ in range(self._attempts):
            if self._is_closed.wait(pause):
                return None
            with suppress(InputError):
                container = self._reopen()
                self.reconnects += 1
                return container
            pause = min(2 * pause, MAX_PAUSE)
        self.reason = f"lost ({why})"
        return None
