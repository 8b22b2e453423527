"""blitznet serve."""

import os
from pathlib import Path

import typer

from blitznet.cli import options
from blitznet.cli.app import app, print_error

TOKEN_VARIABLE = "BLITZNET_TOKEN"


@app.command()
def serve(
    model: str | None = options.MODEL,
    host: str = typer.Option("127.0.0.1", help="Address to listen on."),
    port: int = typer.Option(8000, min=0, max=65535, help="Port; 0 = any free one."),
    score: float = options.SCORE,
    device: str = options.DEVICE,
    engine: str | None = options.ENGINE,
    workers: int | None = typer.Option(
        None, min=1, help="Concurrent predictions.", show_default="one per core, up to 4"
    ),
    queue: int = typer.Option(16, min=0, help="Maximum waiting requests; further ones get 503."),
    timeout: float = typer.Option(30, min=0.1, help="Seconds for one request."),
    max_mb: float = typer.Option(32, help="Maximum size of a request in MB."),
    max_megapixels: float = typer.Option(64, help="Maximum size of an image in megapixels."),
    cors: list[str] | None = typer.Option(
        None, metavar="ORIGIN", help="Allowed browser origin (CORS); repeatable."
    ),
    token: str | None = typer.Option(
        None, help="Bearer token that requests need.", show_default=f"${TOKEN_VARIABLE}"
    ),
    uploads: Path | None = typer.Option(
        None, metavar="DIR", help="Folder of Label Studio's uploads."
    ),
    allow_fetch: list[str] | None = typer.Option(
        None, metavar="HOST", help="Host of images in Label Studio's tasks; repeatable."
    ),
) -> None:
    """Serve predictions over HTTP, with a web page to try them."""
    from blitznet.service import Settings
    from blitznet.service import serve as run_service

    settings = Settings(
        score, queue, timeout, max_mb, max_megapixels, tuple(cors or ()),
        os.environ.get(TOKEN_VARIABLE) if token is None else token,  # an empty one is rejected
        tuple(allow_fetch or ()), uploads,
    )  # fmt: skip
    run_service(model, host, port, workers, device, engine, settings, on_message=print_error)
