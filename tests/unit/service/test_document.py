"""docs/service.md: its calls work as printed, and its options exist."""

import json
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from inspect import signature
from pathlib import Path

import pytest
import uvicorn
from fastapi.testclient import TestClient
from PIL import Image

from blitznet.cli.serve import serve as serve_command
from blitznet.service import Settings, create_app
from blitznet.service.connection import BoundedConnection
from blitznet.service.replies import EXAMPLE
from tiny_network import colour_predictor

TEXT = (Path(__file__).parents[3] / "docs/service.md").read_text()
ADDRESS = "http://127.0.0.1:8000"


def blocks(language: str) -> list[str]:
    return re.findall(rf"^```{language}\n(.*?)^```", TEXT, re.DOTALL | re.MULTILINE)


@pytest.fixture
def address() -> Iterator[str]:
    """Address of a service in a thread, behind a real socket."""
    app = create_app(colour_predictor(), Settings())
    server = uvicorn.Server(
        uvicorn.Config(app, http=BoundedConnection, port=0, log_config=None, ws="none")
    )
    thread = threading.Thread(target=server.run)
    thread.start()
    while not server.started:
        thread.join(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    yield f"http://127.0.0.1:{port}"
    server.should_exit = True
    thread.join()


@pytest.fixture
def folder(tmp_path: Path, image: Image.Image) -> Path:
    """A folder with the photos of the document."""
    for name in "street", "a", "b":
        image.save(tmp_path / f"{name}.jpg", quality=95)
    return tmp_path


def run(folder: Path, *command: str) -> str:
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.skipif(shutil.which("curl") is None, reason="needs curl")
def test_the_calls_with_curl_work_as_printed(address: str, folder: Path) -> None:
    calls = [line for block in blocks("sh") for line in block.splitlines() if "curl" in line]
    assert len(calls) == 5
    for call in calls:
        answer = run(
            folder, "sh", "-c", call.replace("curl", "curl -sSf").replace(ADDRESS, address)
        )
        assert answer.startswith('{"model":"colours"') or "image/png" in call
    for name, mode in (("drawn.png", "RGB"), ("map.png", "P")):
        with Image.open(folder / name) as written:
            assert (written.size, written.mode) == ((96, 48), mode)


def test_the_call_from_python_works_as_printed(address: str, folder: Path) -> None:
    (call,) = blocks("python")
    printed = run(folder, sys.executable, "-c", call.replace(ADDRESS, address))
    assert printed.startswith("green 0.9 [")


def test_the_example_is_that_of_the_interface() -> None:
    (example,) = blocks("json")
    assert json.loads(example) == EXAMPLE


def test_every_option_and_every_route_is_described(client: TestClient) -> None:
    for name in signature(serve_command).parameters:
        if name not in ("model", "port", "device", "engine"):  # as everywhere
            assert f"--{name.replace('_', '-')}" in TEXT, name
    for option in re.findall(r"`(--[a-z-]+)", TEXT):
        assert option[2:].replace("-", "_") in signature(serve_command).parameters, option
    for path in client.get("/openapi.json").json()["paths"]:
        assert f"`{path}`" in TEXT or f"{path}\n" in TEXT, path
