"""Measure `blitznet serve` under load, and compare it with the bare predictor in the same run.

    python benchmarks/serve_load.py --seconds 300 --json results/serve_load.json

Starts the service, measures it, and prints a table and one JSON line, which `--json` also writes to
a file. Exits with 1 if an answer was wrong or a limit was exceeded. Clients run in this process and
share the cores with the service.

saturated   four clients per worker that ask without a pause, alternating with the bare predictor
load50/200  requests at half and at twice the measured capacity, whatever the answers
mixed       good images, slow clients, clients that disconnect, garbage, bombs, too large bodies
killed      SIGKILL during requests: every client must notice at once
"""

import asyncio
import json
import os
import random
import re
import signal
import statistics
import subprocess
import sys
import zlib
from collections import Counter
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from io import BytesIO
from itertools import count
from pathlib import Path
from tempfile import NamedTemporaryFile
from time import perf_counter, sleep
from typing import Annotated, Any

import numpy as np
import typer
from PIL import Image
from rich.console import Console
from rich.table import Table

from blitznet.bench import describe_machine
from blitznet.cpu import usable_cores
from blitznet.image_file import read_image_header
from blitznet.inference.predictor import Predictor, load

# Limit of p99, as a multiple of the mean service time of all requests that may be ahead of one.
P99_FACTOR = 1.3
# Per worker of a saturated service, whose queue is then never empty.
CLIENTS = 4
GOOD = {200, 503}


@dataclass
class Answers:
    """Answers to clients: statuses (0 for a closed connection) and seconds of those with 200."""

    statuses: Counter[int] = field(default_factory=Counter)
    seconds: list[float] = field(default_factory=list)
    wrong: int = 0


class Service:
    """The service's process, and requests over persistent connections."""

    def __init__(self, options: list[str]) -> None:
        command = [sys.executable, "-m", "blitznet", "serve", "--port", "0", *options]
        with NamedTemporaryFile() as log:  # reading a pipe would slow down the clients
            self.process = subprocess.Popen(command, stderr=log)
            while not (found := re.search(rb"127\.0\.0\.1:(\d+) \(", Path(log.name).read_bytes())):
                if self.process.poll() is not None:
                    sys.exit("the service did not start")
                sleep(0.05)
        self.port = int(found[1])
        self._idle: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []

    def megabytes(self) -> float:
        """Resident memory of the service."""
        text = Path(f"/proc/{self.process.pid}/status").read_text()
        return int(re.findall(r"VmRSS:\s+(\d+)", text)[0]) / 1000

    async def ask(self, body: bytes, query: str, pause: float = 0) -> tuple[int, bytes]:
        """Status and content of an answer; pauses for `pause` seconds between parts of the body."""
        is_kept = bool(self._idle)
        try:
            reader, writer = self._idle.pop() if is_kept else await self._connect()
        except OSError:
            return 0, b""
        head = f"POST /predict{query} HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}"
        try:
            writer.write(f"{head}\r\n\r\n".encode())
            step = len(body) // 8 if pause else len(body)
            for first in range(0, len(body), step):
                writer.write(body[first : first + step])
                await writer.drain()
                if pause:
                    await asyncio.sleep(pause)
            header = (await reader.readuntil(b"\r\n\r\n")).decode().lower()
            size = int(header.split("content-length: ")[1].split("\r\n")[0])
            content = await reader.readexactly(size)
        except (OSError, asyncio.IncompleteReadError):
            writer.close()
            if is_kept and self.process.poll() is None:  # closed while idle
                return await self.ask(body, query, pause)
            return 0, b""
        if "connection: close" in header:
            writer.close()
        else:
            self._idle.append((reader, writer))
        return int(header.split(" ")[1]), content

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        return await asyncio.open_connection("127.0.0.1", self.port)

    async def vanish(self, body: bytes, share: float) -> None:
        """Send a share of a request and close the connection."""
        _, writer = await self._connect()
        head = f"POST /predict HTTP/1.1\r\nHost: x\r\nContent-Length: {len(body)}\r\n\r\n"
        writer.write(head.encode() + body[: int(share * len(body))])
        await writer.drain()
        writer.close()


def main(
    model: str | None = None,
    engine: str = "onnxruntime",
    workers: Annotated[int | None, typer.Option(show_default="one per core")] = None,
    queue: int = 16,
    seconds: Annotated[float, typer.Option(help="Duration of each load.")] = 300,
    requests: Annotated[int, typer.Option(help="Requests of the mixed load.")] = 2000,
    images: Annotated[Path | None, typer.Option(help="Folder.", show_default="drawn")] = None,
    json_file: Annotated[Path | None, typer.Option("--json")] = None,
) -> None:
    """Measure throughput, latency, memory and robustness of the service."""
    workers = workers or usable_cores()
    contents = read_images(images)
    options = ["--engine", engine, "--workers", str(workers), "--queue", str(queue)]
    service = Service(options + (["--model", model] if model else []))
    threads = max(1, usable_cores() // workers)
    predictors = [load(model, engine=engine, threads=threads) for _ in range(workers)]
    expected = [expected_answer(predictors[0], content) for content in contents]
    try:
        rows = asyncio.run(
            measure(service, predictors, contents, expected, queue, seconds, requests)
        )
    finally:
        service.process.kill()
    figures = {"machine": describe_machine(), "load_average": os.getloadavg()[0], "engine": engine,
               "workers": workers, "queue": queue, "seconds": seconds} | rows  # fmt: skip
    print_table(rows)
    text = json.dumps(figures)
    typer.echo(text)
    if json_file is not None:
        json_file.write_text(text + "\n")
    if problems := [name for name, is_kept in rows["kept"].items() if not is_kept]:
        raise SystemExit(f"broken: {', '.join(problems)}")


async def measure(
    service: Service,
    predictors: list[Predictor],
    contents: list[bytes],
    expected: list[Any],
    queue: int,
    seconds: float,
    requests: int,
) -> dict[str, Any]:
    """Run all scenarios, one after another."""
    at_once = len(predictors) + queue
    rows: dict[str, Any] = {"saturated": await saturate(service, predictors, contents, seconds)}
    capacity = rows["saturated"]["service"]
    for percent in (50, 200):
        rate = capacity * percent / 100
        rows[f"load{percent}"] = await steady(service, contents, expected, rate, seconds)
    rows["mixed"] = await mixed(service, contents, expected, requests, at_once)
    rows["killed"] = await killed(service, contents, at_once)
    busy = rows["load200"]
    busy["service_ms"] = 1000 * len(predictors) / busy["answered"]  # workers are never idle
    busy["p99_limit_ms"] = at_once * busy["service_ms"] * P99_FACTOR
    rows["kept"] = {
        "throughput at least 0.9 of the bare predictor": rows["saturated"]["ratio"] >= 0.9,
        "p99 under overload": busy["p99_ms"] <= busy["p99_limit_ms"],
        "memory grows by less than 5 %": all(
            rows[name]["memory_growth"] < 0.05 for name in ("load50", "load200")
        ),
        "no answer is wrong": not any(
            rows[name]["wrong"] for name in ("load50", "load200", "mixed")
        ),
        "no status but the expected ones": rows["mixed"]["unexpected"] == 0,
        "clients of a killed service are told": rows["killed"]["hanging"] == 0,
    }
    return rows


async def saturate(
    service: Service, predictors: list[Predictor], contents: list[bytes], seconds: float
) -> dict[str, float]:
    """Images per second of the service and the bare predictor, alternating."""
    rates: dict[str, list[float]] = {"bare": [], "service": [], "service_png": []}
    ways: dict[str, Callable[[float], Awaitable[float]]] = {
        "bare": lambda time: asyncio.to_thread(bare_rate, predictors, contents, time),
        "service": lambda time: service_rate(
            service, contents, "?mask=none", time, len(predictors)
        ),
        "service_png": lambda time: service_rate(service, contents, "", time, len(predictors)),
    }
    for _ in range(4):
        for name, way in ways.items():
            rates[name].append(await way(seconds / 12))
    medians = {name: statistics.median(values[1:]) for name, values in rates.items()}  # warmed up
    pairs = zip(rates["service"][1:], rates["bare"][1:], strict=True)
    return medians | {"ratio": statistics.median(one / other for one, other in pairs)}


def bare_rate(predictors: list[Predictor], contents: list[bytes], seconds: float) -> float:
    """Images per second without a service: one thread per worker, starting from bytes."""
    end = perf_counter() + seconds

    def work(predictor: Predictor) -> int:
        for number in count():
            if perf_counter() >= end:
                return number
            predictor.predict(contents[number % len(contents)])
        return 0

    with ThreadPoolExecutor(len(predictors)) as pool:
        return sum(pool.map(work, predictors)) / seconds


async def service_rate(
    service: Service, contents: list[bytes], query: str, seconds: float, workers: int
) -> float:
    """Images per second with clients that ask again as soon as they get an answer."""
    end, done = perf_counter() + seconds, 0

    async def client(first: int) -> None:
        nonlocal done
        for number in count(first):
            if perf_counter() >= end:
                return
            status, _ = await service.ask(contents[number % len(contents)], query)
            done += status == 200

    await asyncio.gather(*(client(first) for first in range(CLIENTS * workers)))
    return done / seconds


async def steady(
    service: Service, contents: list[bytes], expected: list[Any], rate: float, seconds: float
) -> dict[str, Any]:
    """Send requests at a fixed rate, without waiting for late answers."""
    answers, start, before = Answers(), perf_counter(), service.megabytes()
    tasks = set()
    for number in range(int(rate * seconds)):
        await asyncio.sleep(max(0, start + number / rate - perf_counter()))
        index = number % len(contents)
        task = asyncio.create_task(timed(service, contents[index], expected[index], answers))
        tasks.add(task)
        task.add_done_callback(tasks.discard)
        if number == int(rate * seconds / 10):
            before = service.megabytes()  # after the first requests, whose memory stays allocated
    await asyncio.gather(*tasks)
    total = sum(answers.statuses.values())
    quantiles = np.quantile(answers.seconds, (0.5, 0.95, 0.99)) * 1000
    return {
        "rate": rate,
        "answered": answers.statuses[200] / (perf_counter() - start),
        **dict(zip(("p50_ms", "p95_ms", "p99_ms"), quantiles.tolist(), strict=True)),
        "busy_share": answers.statuses[503] / total,
        "wrong": answers.wrong + sum(n for one, n in answers.statuses.items() if one not in GOOD),
        "memory_start_mb": before,
        "memory_end_mb": service.megabytes(),
        "memory_growth": service.megabytes() / before - 1,
    }


async def timed(service: Service, content: bytes, expected: Any, answers: Answers) -> None:
    """Send one request and check its answer."""
    start = perf_counter()
    status, reply = await service.ask(content, "?mask=none")
    answers.statuses[status] += 1
    if status == 200:
        answers.seconds.append(perf_counter() - start)
        answers.wrong += what_counts(reply) != expected


async def mixed(
    service: Service, contents: list[bytes], expected: list[Any], requests: int, at_once: int
) -> dict[str, Any]:
    """Friendly and hostile clients in random order, as many at once as workers and queue take."""
    generator = random.Random(0)
    answers, slots = Answers(), asyncio.Semaphore(at_once)
    unexpected = Counter[str]()
    hostile: dict[str, tuple[bytes, set[int]]] = {
        "garbage": (generator.randbytes(3000), {415}),
        "cut": (contents[0][: len(contents[0]) // 2], {422}),
        "bomb": (header_of(60_000, 60_000), {413}),
        "liar": (header_of(6_000, 6_000), {422}),
        "parts": (b"\xff\xd8" + bytes([255]) * 8_000_000, {422}),
        "flat": (flat_png(6_000), {200}),
        "large": (bytes(33_000_000), {413}),
    }
    kinds = ["good", "slow", "vanish", *hostile]

    async def one(kind: str) -> None:
        index = generator.randrange(len(contents))
        async with slots:
            if kind == "vanish":
                await service.vanish(contents[index], generator.choice((0.0, 0.5, 1.0)))
                return
            content, wanted = hostile.get(kind, (contents[index], {200}))
            pause = 0.05 if kind == "slow" else 0
            status, reply = await service.ask(content, "?mask=none", pause)
        answers.statuses[status] += 1
        if status not in wanted | {503}:
            unexpected[f"{kind} {status}"] += 1
        if status == 200 and kind in ("good", "slow"):
            answers.wrong += what_counts(reply) != expected[index]

    weights = [12, 3, 3, 2, 2, 2, 1, 0.5, 0.2, 0.5]
    await asyncio.gather(*(one(kind) for kind in generator.choices(kinds, weights, k=requests)))
    status, reply = await service.ask(contents[0], "?mask=none")
    is_alive = status == 200 and what_counts(reply) == expected[0]
    return {
        "requests": requests,
        "statuses": dict(sorted(answers.statuses.items())),
        "status_500": answers.statuses[500],
        "wrong": answers.wrong + (not is_alive),
        "unexpected": sum(unexpected.values()),
        "which": dict(unexpected),
        "memory_mb": service.megabytes(),
    }


async def killed(service: Service, contents: list[bytes], at_once: int) -> dict[str, Any]:
    """Kill the service during requests, and count the clients that still wait."""
    tasks = [asyncio.create_task(service.ask(contents[0], "")) for _ in range(at_once)]
    await asyncio.sleep(0.02)
    start = perf_counter()
    service.process.send_signal(signal.SIGKILL)
    _, hanging = await asyncio.wait(tasks, timeout=10)
    return {"hanging": len(hanging), "seconds": perf_counter() - start}


def read_images(folder: Path | None) -> list[bytes]:
    """Up to 32 images of a folder, or drawn ones, 500 x 375."""
    if folder is not None:
        return [path.read_bytes() for path in sorted(folder.glob("*.jpg"))[:32]]
    generator = np.random.default_rng(0)
    return [encode(Image.fromarray(drawn(generator)), "JPEG") for _ in range(8)]


def drawn(generator: np.random.Generator) -> np.ndarray:
    """Smooth noise, which takes a JPEG decoder as long as a photo."""
    coarse = generator.integers(0, 256, (48, 64, 3), np.uint8)
    return np.asarray(Image.fromarray(coarse).resize((500, 375), Image.Resampling.BICUBIC))


def encode(image: Image.Image, image_format: str) -> bytes:
    """The content of an image file."""
    content = BytesIO()
    image.save(content, image_format)
    return content.getvalue()


def header_of(width: int, height: int) -> bytes:
    """A PNG with a size but without pixels."""
    body = b"IHDR" + width.to_bytes(4, "big") + height.to_bytes(4, "big") + b"\x08\x02\0\0\0"
    chunk = (13).to_bytes(4, "big") + body + zlib.crc32(body).to_bytes(4, "big")
    end = b"\0\0\0\0IEND\xae\x42\x60\x82"
    return b"\x89PNG\r\n\x1a\n" + chunk + end


def flat_png(side: int) -> bytes:
    """Many pixels in few bytes, within the limits."""
    return encode(Image.new("L", (side, side)), "PNG")


def expected_answer(predictor: Predictor, content: bytes) -> Any:
    """The answer that the service must give for an image."""
    record = predictor.predict(read_image_header(BytesIO(content), "body")).to_dict()
    return record["detections"], record["pixels"]


def what_counts(reply: bytes) -> Any:
    """The part of an answer that is the same in every run."""
    image = json.loads(reply)["images"][0]
    return image["detections"], image["pixels"]


def print_table(rows: dict[str, Any]) -> None:
    """One line per figure."""
    table = Table("scenario", "figure", "value")
    for scenario, figures in rows.items():
        for name, value in figures.items():
            shown = f"{value:.3g}" if isinstance(value, float) else str(value)
            table.add_row(scenario, name, shown)
    Console().print(table)


if __name__ == "__main__":
    typer.run(main)
