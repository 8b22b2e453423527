"""blitznet serve."""

import os
from pathlib import Path
from typing import Annotated

import typer

from blitznet.cli.app import app, print_error
from blitznet.cli.options import DeviceOption, EngineOption, ModelOption, ScoreOption

TOKEN_VARIABLE = "BLITZNET_TOKEN"


@app.command()
def serve(
    model: ModelOption = None,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(min=0, max=65535, help="Port; 0 = any free one.")] = 8000,
    score: ScoreOption = 0.5,
    device: DeviceOption = "auto",
    engine: EngineOption = None,
    workers: Annotated[
        int | None,
        typer.Option(min=1, help="Concurrent predictions.", show_default="one per core, up to 4"),
    ] = None,
    queue: Annotated[
        int, typer.Option(min=0, help="Maximum waiting requests; further ones get 503.")
    ] = 16,
    timeout: Annotated[float, typer.Option(min=0.1, help="Seconds for one request.")] = 30,
    max_mb: Annotated[float, typer.Option(help="Maximum size of a request in MB.")] = 32,
    max_megapixels: Annotated[
        float, typer.Option(help="Maximum size of an image in megapixels.")
    ] = 64,
    cors: Annotated[
        list[str] | None,
        typer.Option(metavar="ORIGIN", help="Allowed browser origin (CORS); repeatable."),
    ] = None,
    token: Annotated[
        str | None,
        typer.Option(help="Bearer token that requests need.", show_default=f"${TOKEN_VARIABLE}"),
    ] = None,
    uploads: Annotated[
        Path | None, typer.Option(metavar="DIR", help="Folder of Label Studio's uploads.")
    ] = None,
    allow_fetch: Annotated[
        list[str] | None,
        typer.Option(metavar="HOST", help="Host of images in Label Studio's tasks; repeatable."),
    ] = None,
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
