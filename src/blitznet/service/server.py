"""Run the service: socket, workers, uvicorn and graceful shutdown."""

import logging
import signal
import socket
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from types import FrameType

import uvicorn

from blitznet.cpu import usable_cores
from blitznet.errors import InputError, count_of, require_numbers
from blitznet.inference.engines.engine import OnMessage
from blitznet.inference.predictor import Predictor, load
from blitznet.service.answering import Service
from blitznet.service.app import create_app
from blitznet.service.connection import BoundedConnection
from blitznet.service.gate import access_log
from blitznet.service.settings import Settings

# Defaults. On a GPU, one worker decodes and encodes while the other's network runs.
_MAX_WORKERS = 4
_WORKERS_ON_GPU = 2
# Longer than reverse proxies keep idle connections, so that they never reuse a closed one.
_KEEP_ALIVE_SECONDS = 75
# Interval at which threads switch, so that workers and the event loop do not block each other.
_SWITCH_SECONDS = 0.0005
_LOOPBACK = ("127.", "::1", "localhost")


def serve(
    model: str | None = None,
    host: str = "127.0.0.1",
    port: int = 8000,
    workers: int | None = None,
    device: str = "auto",
    engine: str | None = None,
    settings: Settings | None = None,
    on_message: OnMessage | None = None,
) -> None:
    """Serve a network until SIGTERM or Ctrl-C, and then finish running requests.

    Args:
        model: a bundled network's name, an exported file, or a checkpoint; None = the
            default bundled network.
        host: address to listen on.
        port: port to listen on; 0 = any free one.
        workers: concurrent predictions, each on its share of the cores; None = one per core up to
            4, or 2 on a GPU.
        device: see `blitznet.load`.
        engine: see `blitznet.load`.
        settings: limits and access; None = the defaults.
        on_message: receives lines about progress and problems; None = print to standard error.

    Raises:
        InputError: if the address cannot be used, or the network cannot be loaded.
        KeyboardInterrupt: after Ctrl-C.
    """
    settings = settings or Settings()
    on_message = on_message or partial(print, file=sys.stderr, flush=True)
    require_numbers(1, workers=workers)
    with _listen(host, port) as listener:
        address = f"http://{f'[{host}]' if ':' in host else host}:{listener.getsockname()[1]}"
        if not host.startswith(_LOOPBACK):
            who = "anyone with the token" if settings.token else "anyone (no --token is set)"
            on_message(f"{address} is not loopback: reachable from other machines, by {who}")
        predictors = _load_workers(model, workers, device, engine, on_message)
        service_app = create_app(predictors, settings)
        _log_to_stderr()
        sys.setswitchinterval(_SWITCH_SECONDS)
        config = uvicorn.Config(
            service_app, http=BoundedConnection, ws="none", log_config=None, access_log=False,
            server_header=False,
            timeout_keep_alive=_KEEP_ALIVE_SECONDS,
            timeout_graceful_shutdown=int(settings.timeout) + 1,
        )  # fmt: skip
        workers_on = f"{count_of(len(predictors), 'worker')} on {predictors[0].engine.name}"
        on_message(f"{address} ({workers_on}; Ctrl-C to stop)")
        _Server(config, service_app.state.service).run(sockets=[listener])


class _Server(uvicorn.Server):
    """Sets the service to not ready on a signal, and exits with 0 on SIGTERM."""

    def __init__(self, config: uvicorn.Config, service: Service) -> None:
        super().__init__(config)
        self._service = service

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._service.is_ready = False
        if sig == signal.SIGTERM:
            self.should_exit = True  # uvicorn would raise the signal again at exit
        else:
            super().handle_exit(sig, frame)


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except (OSError, OverflowError) as error:
        reason = getattr(error, "strerror", None) or error
        raise InputError(
            f"cannot listen on {host} port {port} ({reason}); name another --host or --port"
        ) from None


def _load_workers(
    model: str | None, workers: int | None, device: str, engine: str | None, on_message: OnMessage
) -> list[Predictor]:
    """Load a network per worker; on a CPU, each uses its share of the cores."""
    cores = usable_cores()
    count = workers or min(cores, _MAX_WORKERS)
    threads = max(1, cores // count)
    first = load(model, device, engine, threads=threads, on_message=on_message)
    if workers is None and first.engine.device != "cpu":
        count = _WORKERS_ON_GPU
    with ThreadPoolExecutor(max(1, count - 1)) as pool:
        load_silently = partial(load, threads=threads, on_message=lambda _: None)
        others = pool.map(lambda _: load_silently(model, device, engine), range(count - 1))
        return [first, *others]


def _log_to_stderr() -> None:
    """Log requests as JSON lines, and uvicorn's warnings and errors unchanged."""
    handler = logging.StreamHandler()
    handler.setFormatter(logging.Formatter("%(message)s"))
    for logger, level in ((access_log, logging.INFO), (logging.getLogger("uvicorn"), "WARNING")):
        logger.setLevel(level)
        logger.handlers = [handler]
        logger.propagate = False
