"""uvicorn's HTTP connection with limits on the size of headers and the time of a request."""

import asyncio
from typing import Any

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_MAX_HEADER_BYTES = 64 * 1024


class BoundedConnection(HttpToolsProtocol):
    """A connection that closes if headers are too large, or if a request takes too long.

    The time runs from connecting, or a request's first byte, to the last byte of the answer, which
    a client may fail to read. The limit is twice `timeout_graceful_shutdown`, so that the service's
    own deadline, which sends an answer, comes first.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._seconds = 2 * (self.config.timeout_graceful_shutdown or 30)
        self._header_bytes: int | None = None  # None = not reading headers
        self._is_received = False
        self._clock: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start the clock; called by the event loop."""
        super().connection_made(transport)
        self._start_clock()

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop the clock; called by the event loop."""
        super().connection_lost(exc)
        self._stop_clock()

    def data_received(self, data: bytes) -> None:
        """Limit the size of headers; called by the event loop."""
        super().data_received(data)
        if self._header_bytes is not None:
            self._header_bytes += len(data)
            if self._header_bytes > _MAX_HEADER_BYTES and not self.transport.is_closing():
                self.send_400_response("Headers too large.")

    def on_message_begin(self) -> None:
        """Restart the clock for a request; called by the parser."""
        super().on_message_begin()
        self._header_bytes = 0
        self._start_clock()

    def on_headers_complete(self) -> None:
        """Stop counting bytes of headers; called by the parser."""
        self._header_bytes = None
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """Record that the request is complete; called by the parser."""
        self._is_received = True
        super().on_message_complete()

    def _start_clock(self) -> None:
        self._stop_clock()
        self._is_received = False
        self._clock = self.loop.call_later(self._seconds, self._abort_if_unfinished)

    def _stop_clock(self) -> None:
        if self._clock is not None:
            self._clock.cancel()

    def _abort_if_unfinished(self) -> None:
        is_answered = self._is_received and self.cycle.response_complete
        if not is_answered or self.transport.get_write_buffer_size():
            self.transport.abort()
