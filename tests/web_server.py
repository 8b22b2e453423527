"""A local web server."""

from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from functools import partial
from http.server import BaseHTTPRequestHandler, SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any


class QuietHandler(BaseHTTPRequestHandler):
    """Answers requests without printing them."""

    def log_message(self, *_: object) -> None:
        pass


class _FolderHandler(QuietHandler, SimpleHTTPRequestHandler):
    pass


@contextmanager
def serve(handler: Callable[..., Any]) -> Iterator[str]:
    """Answer requests with a handler; yields the URL, which ends with a slash."""
    with ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()


def web_server(folder: Path) -> AbstractContextManager[str]:
    """Serve the files of a folder, see `serve`."""
    return serve(partial(_FolderHandler, directory=folder))
