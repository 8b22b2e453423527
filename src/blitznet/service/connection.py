"""uvicorn's HTTP connection, which by itself bounds neither headers nor the time they take."""

import asyncio
from typing import Any, cast

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

_MAX_HEADER_BYTES = 64 * 1024


class BoundedConnection(HttpToolsProtocol):
    """Closed when its headers are too large, or when a request takes too long.

    That is from its first byte, or the connection, to the last byte of the answer, which a client
    may not take. The limit is twice `timeout_graceful_shutdown`, as the service's own deadline
    ends with an answer.
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._seconds = 2 * (self.config.timeout_graceful_shutdown or 30)
        self._header_bytes: int | None = None  # None = not among headers
        self._is_received = False
        self._clock: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Called by the event loop, like `connection_lost` and `data_received`."""
        one_write = cast("asyncio.Transport", _OneWrite(transport, self.loop))
        super().connection_made(one_write)
        self._start_clock()

    def connection_lost(self, exc: Exception | None) -> None:
        """See there."""
        super().connection_lost(exc)
        self._stop_clock()

    def data_received(self, data: bytes) -> None:
        """See there."""
        super().data_received(data)
        if self._header_bytes is not None:
            self._header_bytes += len(data)
            if self._header_bytes > _MAX_HEADER_BYTES and not self.transport.is_closing():
                self.send_400_response("Headers too large.")

    def on_message_begin(self) -> None:
        """Called by the parser, like all that follow."""
        super().on_message_begin()
        self._header_bytes = 0
        self._start_clock()

    def on_headers_complete(self) -> None:
        """See there."""
        self._header_bytes = None
        super().on_headers_complete()

    def on_message_complete(self) -> None:
        """See there."""
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


class _OneWrite:
    """A transport that sends the head and the body of an answer together.

    uvicorn writes them one after the other, and uvloop sends each at once: a client would be woken
    twice, and the interpreter locked for two system calls.
    """

    def __init__(self, transport: asyncio.Transport, loop: asyncio.AbstractEventLoop) -> None:
        self._transport = transport
        self._loop = loop
        self._written: list[bytes] = []

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)

    def write(self, data: bytes) -> None:
        """Sent when the event loop has its next turn."""
        if not self._written:
            self._loop.call_soon(self._send)
        self._written.append(data)

    def get_write_buffer_size(self) -> int:
        """Bytes that the client has not taken."""
        return sum(map(len, self._written)) + self._transport.get_write_buffer_size()

    def close(self) -> None:
        """Send what was written, and close."""
        self._send()
        self._transport.close()

    def _send(self) -> None:
        content = b"".join(self._written)
        self._written.clear()
        if content and not self._transport.is_closing():
            self._transport.write(content)
