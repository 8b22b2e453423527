"""Middleware for every request: access control, security headers, one line in the log."""

import base64
import binascii
import hmac
import json
import logging
from collections.abc import Mapping
from datetime import UTC, datetime
from time import perf_counter
from typing import Any

from prometheus_client import Counter
from starlette.datastructures import Headers, MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

access_log = logging.getLogger("blitznet.access")

# The page itself asks for the token, and health checks have none.
_OPEN_PATHS = ("/", "/docs", "/health", "/ready")
_OPEN_PREFIX = "/page/"

# Everything is loaded from this service; images also from the page's canvas and camera.
_SECURITY = {
    "content-security-policy": (
        "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
        "img-src 'self' blob: data:; media-src 'self' blob:; base-uri 'none'; "
        "form-action 'none'; frame-ancestors 'none'"
    ),
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "cache-control": "no-store",
}
CLIENT_GONE = 499


class Gate:
    """ASGI middleware around the service.

    Args:
        app: the service.
        token: bearer token that requests need; None = no access control.
        requests: counts requests by the path of their route and their status.
    """

    def __init__(self, app: ASGIApp, token: str | None, requests: Counter) -> None:
        self._app = app
        self._token = token
        self._requests = requests

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or reject it with 401."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        if scope["method"] == "HEAD":  # uvicorn leaves the body out
            scope = {**scope, "method": "GET"}
        start, status, sent = perf_counter(), 500, 0

        async def send_on(message: Message) -> None:
            nonlocal status, sent
            if message["type"] == "http.response.start":
                status = message["status"]
                headers = MutableHeaders(scope=message)
                for name, value in _SECURITY.items():
                    headers.setdefault(name, value)
            elif message["type"] == "http.response.body":
                sent += len(message.get("body", b""))
            await send(message)

        try:
            if self._is_allowed(scope):
                await self._app(scope, receive, send_on)
            else:
                await _REFUSAL(scope, receive, send_on)
        finally:
            route = scope.get("route")
            self._requests.labels(getattr(route, "path", "other"), status).inc()
            _log(scope, status, sent, (perf_counter() - start) * 1000)

    def _is_allowed(self, scope: Scope) -> bool:
        path = scope["path"]
        if self._token is None or path in _OPEN_PATHS or path.startswith(_OPEN_PREFIX):
            return True
        return hmac.compare_digest(_given_token(Headers(scope=scope)), self._token.encode())


_REFUSAL = JSONResponse(
    {"detail": "this service needs a token; send the header `Authorization: Bearer TOKEN`"},
    status_code=401,
    headers={"WWW-Authenticate": "Bearer"},
)


def _given_token(headers: Mapping[str, str]) -> bytes:
    """Extract the token of `Bearer`, or the password of `Basic`, which Label Studio sends."""
    kind, _, value = headers.get("authorization", "").partition(" ")
    token = value.strip().encode("latin-1")  # the original bytes
    if kind.lower() == "basic":
        try:
            return base64.b64decode(token, validate=True).partition(b":")[2]
        except binascii.Error:
            return b""
    return token


def _log(scope: Scope, status: int, sent: int, milliseconds: float) -> None:
    """Log a JSON object per request, without content and parameters, which may be personal."""
    line: dict[str, Any] = {
        "time": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "client": (scope.get("client") or ("-",))[0],
        "method": scope["method"],
        "path": scope["path"],
        "status": status,
        "bytes": sent,
        "ms": round(milliseconds, 1),
    }
    access_log.info(json.dumps(line | scope.get("state", {}).get("log", {})))
