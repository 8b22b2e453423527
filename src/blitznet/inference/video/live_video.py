"""Read live sources: keep only the latest frame, and reconnect after a loss."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from fractions import Fraction
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

# Arrival times are not more precise than this.
TIME_BASE = Fraction(1, 1000)
# Seconds before the first attempt to reconnect; doubled for every further one, up to a maximum.
FIRST_PAUSE = 1.0
MAX_PAUSE = 30.0
# Seconds between checks of `should_stop` while waiting for a frame.
_TICK = 0.1


class LiveVideo(OpenedVideo):
    """A camera or a stream, read in a thread that keeps only the latest frame.

    Args:
        container: opened container; the thread closes it.
        reopen: opens the source again after a loss; raises InputError if it cannot.
        name: for messages and results.
        stem: for the names of result files.
        attempts: maximum number of attempts to reconnect.

    Attributes:
        should_stop: polled often; if it returns True, the source ends with `reason` STOPPED.
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
        """Yield the latest frame whenever the consumer is ready, each frame at most once.

        Timestamps are arrival times relative to the first frame, so that a loss shows as a gap.
        """
        self._thread.start()
        begin, last, index = 0.0, -1, 0
        while not self._is_closed.is_set():
            if self.should_stop():
                self._is_closed.set()
                self.reason = STOPPED
                return
            is_last = not self._thread.is_alive()
            try:
                frame, time = self._latest.get(timeout=_TICK)
            except Empty:
                if is_last:
                    return
                continue
            begin = begin or time
            last = max(last + 1, round((time - begin) / TIME_BASE))
            yield Frame(upright_image(frame), index, last, TIME_BASE)
            index += 1

    def close(self) -> None:
        """Stop the thread, which closes the source."""
        self._is_closed.set()
        if self._thread.is_alive():
            self._thread.join(timeout=2)  # FFmpeg may wait longer for a silent source
        elif self._thread.ident is None:  # never started
            super().close()

    def _capture(self) -> None:
        """Read and reconnect; runs in the thread."""
        container: InputContainer | None = self._container
        while container is not None:
            why = self._read(container)
            container = None if self._is_closed.is_set() else self._reconnect(why)

    def _read(self, container: "InputContainer") -> str:
        """Read frames until the source is lost; return the reason."""
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
