"""`blitznet serve` as a process: start, shutdown, errors."""

import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from http.client import HTTPConnection
from io import BytesIO

import pytest
from PIL import Image

from blitznet.cli import main

SECONDS = 60


@pytest.fixture
def start() -> Iterator[Callable[..., tuple["subprocess.Popen[str]", HTTPConnection]]]:
    processes = []

    def run(*options: str) -> tuple["subprocess.Popen[str]", HTTPConnection]:
        command = [sys.executable, "-m", "blitznet", "serve", "--port", "0", *options]
        variables = os.environ | {"BLITZNET_ENGINE": "onnxruntime"}
        process = subprocess.Popen(command, stderr=subprocess.PIPE, text=True, env=variables)
        processes.append(process)
        assert process.stderr is not None
        line = process.stderr.readline()
        found = re.search(r"http://([\d.]+):(\d+)", line)
        assert found, line
        return process, HTTPConnection(found[1], int(found[2]), timeout=SECONDS)

    yield run
    for process in processes:
        process.kill()
        process.communicate()


@pytest.mark.slow
def test_requests_under_way_are_answered_after_sigterm(
    start: Callable[..., tuple["subprocess.Popen[str]", HTTPConnection]],
) -> None:
    process, client = start("--workers", "1")
    content = BytesIO()
    Image.linear_gradient("L").resize((3000, 2000)).save(content, "PNG")
    client.request("GET", "/ready")
    assert client.getresponse().read() == b'{"ready":true}'
    client.request("POST", "/predict?mask=rle", body=content.getvalue())
    time.sleep(0.05)
    process.send_signal(signal.SIGTERM)
    answer = client.getresponse()
    assert answer.status == 200
    assert answer.read().startswith(b'{"model":"blitznet300-mobile"')
    client.close()
    _, log = process.communicate(timeout=SECONDS)
    assert process.returncode == 0
    assert '"path": "/predict", "status": 200' in log
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection((client.host, client.port), SECONDS)


def test_an_address_in_use_and_impossible_settings_are_one_line(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        assert main(["serve", "--port", str(port)]) == 1
    error = capsys.readouterr().err
    assert error.startswith(f"blitznet: cannot listen on 127.0.0.1 port {port} (Address already")
    assert main(["serve", "--port", "0", "--model", "nothing"]) == 1
    assert main(["serve", "--max-mb", "-1"]) == 1
    assert main(["serve", "--token", ""]) == 1  # of a variable that is not set
    monkeypatch.setenv("BLITZNET_TOKEN", "")
    assert main(["serve"]) == 1
    assert len(capsys.readouterr().err.splitlines()) == 4
