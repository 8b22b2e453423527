"""Stop `blitznet serve` at random moments while clients send images, and check their answers.

python tools/kill_serve.py --kills 30

Four clients send images without a pause. The server gets SIGKILL or SIGTERM at a random moment
after its start. Every complete answer must equal that of an undisturbed server; after SIGTERM, the
exit code must be 0. The next server must listen on the same port and answer.
"""

import json
import random
import re
import signal
import subprocess
import sys
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from http.client import HTTPConnection, HTTPException
from io import BytesIO
from pathlib import Path
from tempfile import TemporaryDirectory
from threading import Event
from typing import Annotated, Any

import numpy as np
import typer
from PIL import Image
from rich.progress import track

CLIENTS = 4
IMAGES = 12
LONGEST_SECONDS = 6.0  # maximum time from the first answer to the signal
REFUSED = 503  # while the server starts, stops or is busy


def draw_images() -> list[bytes]:
    """Draw JPEGs of random rectangles in various sizes."""
    rng = np.random.default_rng(0)
    contents = []
    for _ in range(IMAGES):
        image = Image.new("RGB", tuple(rng.integers(50, 1500, 2).tolist()), "grey")
        for _ in range(30):
            x, y, width, height = rng.integers(0, (1400, 1400, 600, 600)).tolist()
            image.paste(tuple(rng.integers(0, 256, 3).tolist()), (x, y, x + width, y + height))
        stream = BytesIO()
        image.save(stream, "JPEG")
        contents.append(stream.getvalue())
    return contents


class Server:
    """The command in its own process; ready once it has printed its address."""

    def __init__(self, port: int, log: Path) -> None:
        command = [sys.executable, "-m", "blitznet", "serve", "--port", str(port)]
        options = ["--engine", "onnxruntime", "--score", "0.05"]
        with log.open("wb") as file:
            self.process = subprocess.Popen([*command, *options], stderr=file)
        self._log, deadline = log, time.monotonic() + 60
        while (found := re.search(r"http://127.0.0.1:(\d+)", log.read_text())) is None:
            if self.process.poll() is not None or time.monotonic() > deadline:
                raise SystemExit(f"the server does not start: {log.read_text()}")
            time.sleep(0.02)
        self.port = int(found[1])

    def end(self, number: signal.Signals) -> list[str]:
        """Send a signal and wait for the process; return problems."""
        self.process.send_signal(number)
        self.process.wait(60)
        problems, log = [], self._log.read_text()
        if "Traceback" in log:
            problems.append(f"{number.name}: {log[-500:]}")
        if number == signal.SIGTERM and self.process.returncode:
            problems.append(f"{number.name}: exit code {self.process.returncode}")
        return problems


def ask(port: int, content: bytes) -> tuple[int, Any]:
    """Status and body of one complete answer, without times.

    Raises:
        OSError, HTTPException: if there was no complete answer.
    """
    client = HTTPConnection("127.0.0.1", port, timeout=60)
    try:
        client.request("POST", "/predict?mask=rle", content)
        answer = client.getresponse()
        body = json.loads(answer.read())
        for image in body.get("images", ()):
            del image["ms"]
        return answer.status, body
    finally:
        client.close()


def ask_until_answered(port: int, content: bytes) -> Any:
    """The body of the first answer with status 200 of a server that starts."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        try:
            status, body = ask(port, content)
        except (OSError, HTTPException):
            status = 0
        if status == 200:
            return body
        time.sleep(0.05)
    raise SystemExit(f"no answer on port {port}")


def keep_asking(
    port: int, contents: list[bytes], expected: list[Any], is_ended: Event, seed: int
) -> Counter[str]:
    """Count the answers of one client until the server is stopped."""
    rng, seen = random.Random(seed), Counter[str]()
    while not is_ended.is_set():
        index = rng.randrange(len(contents))
        try:
            status, body = ask(port, contents[index])
        except (OSError, HTTPException):
            seen["requests without a whole answer"] += 1
            time.sleep(0.02)
            continue
        if status == 200:
            seen["right" if body == expected[index] else "wrong"] += 1
        else:
            is_refusal = status == REFUSED and "detail" in body
            seen["refused" if is_refusal else f"status {status}"] += 1
    return seen


def main(kills: Annotated[int, typer.Option(min=1)] = 30, seed: int = 0) -> None:
    """Print the counts of all clients; exits with 1 if anything was wrong."""
    rng, seen, problems = random.Random(seed), Counter[str](), list[str]()
    contents = draw_images()
    with TemporaryDirectory() as folder, ThreadPoolExecutor(CLIENTS) as pool:
        log = Path(folder) / "log"
        server = Server(0, log)
        port = server.port
        expected = [ask_until_answered(port, content) for content in contents]
        problems += server.end(signal.SIGTERM)
        for number in track(range(kills), "kills"):
            server, is_ended = Server(port, log), Event()
            clients = [
                pool.submit(keep_asking, port, contents, expected, is_ended, number * CLIENTS + one)
                for one in range(CLIENTS)
            ]
            if rng.random() < 0.8:  # otherwise, the signal may come while it starts
                ask_until_answered(port, contents[0])
            time.sleep(rng.uniform(0, LONGEST_SECONDS))
            one = rng.choice((signal.SIGKILL, signal.SIGTERM))
            problems += server.end(one)
            is_ended.set()
            seen[one.name] += 1
            for client in clients:
                seen += client.result()
        server = Server(port, log)
        if ask_until_answered(port, contents[0]) != expected[0]:
            problems.append("the last server answers otherwise")
        problems += server.end(signal.SIGTERM)
    typer.echo(json.dumps({**seen, "problems": problems}, indent=2))
    allowed = {"SIGKILL", "SIGTERM", "right", "refused", "requests without a whole answer"}
    raise typer.Exit(bool(problems or seen.keys() - allowed))


if __name__ == "__main__":
    typer.run(main)
