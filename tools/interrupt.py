"""Interrupt `blitznet predict` at random moments until it is done; compare with an undisturbed run.

python tools/interrupt.py --interruptions 40

Each start runs the command with --resume; SIGINT, SIGTERM or SIGKILL may come at any time between
its first import and its last line. After each signal, predictions.jsonl is checked. When a run has
finished, its files are compared, and the next run begins.
"""

import json
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import numpy as np
import typer
from PIL import Image
from rich.progress import track

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGKILL)
PREDICTIONS = "predictions.jsonl"


def draw_images(folder: Path, number: int) -> None:
    """Draw images of random rectangles into two folders."""
    random_numbers = np.random.default_rng(0)
    for index in range(number):
        image = Image.new("RGB", (640, 480), "grey")
        for _ in range(30):
            x, y, width, height = random_numbers.integers(0, (640, 480, 300, 300)).tolist()
            colour = tuple(random_numbers.integers(0, 256, 3).tolist())
            image.paste(colour, (x, y, x + width, y + height))
        path = folder / f"half{index % 2}" / f"{index:03}.jpg"
        path.parent.mkdir(parents=True, exist_ok=True)
        image.save(path)


def start(images: Path, out: Path) -> "subprocess.Popen[str]":
    """Start the command in its own process."""
    arguments = [f"{images}/**/*.jpg", "--out", out, "--resume", "--score", "0.05"]
    options = ["--save-masks", "--engine", "onnxruntime", "--format", "voc,yolo"]
    return subprocess.Popen(
        [sys.executable, "-m", "blitznet", "predict", *arguments, *options],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background jobs ignore Ctrl-C, and their children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def read_records(out: Path) -> tuple[list[dict[str, Any]], bool]:
    """The records in predictions.jsonl, and whether its last line is incomplete."""
    path = out / PREDICTIONS
    content = path.read_bytes() if path.exists() else b""
    *lines, rest = content.split(b"\n")
    return [json.loads(line) for line in lines], bool(rest)


def problems_of(out: Path, struck: signal.Signals, errors: str, has_begun: bool) -> list[str]:
    """What is wrong with the files and messages of an interrupted run."""
    problems = []
    records, is_cut = read_records(out)
    if is_cut and struck != signal.SIGKILL:
        problems.append("a line is cut short")
    sources = [record["source"] for record in records]
    if sources != sorted(set(sources)):
        problems.append("lines are doubled or out of order")
    for record in records:
        for key in ("drawn", "seg_map"):
            try:
                with Image.open(out / record[key]) as image:
                    image.load()
            except OSError:
                problems.append(f"{key} is damaged or missing")
    parts = list(out.rglob(".blitznet-*"))
    if struck != signal.SIGKILL and has_begun:
        if parts:
            problems.append("an unfinished file is left")
        if "stopped: " not in errors:
            problems.append(f"{struck.name} leaves no line: {errors[-300:]}")
    return problems


def contents(out: Path) -> dict[str, Any]:
    """The content of every file of a run; predictions without times."""
    found: dict[str, Any] = {
        path.relative_to(out).as_posix(): path.read_bytes()
        for path in out.rglob("*")
        if path.is_file()
    }
    records, _ = read_records(out)
    found[PREDICTIONS] = [{**record, "ms": None} for record in records]
    return found


def main(
    interruptions: Annotated[int, typer.Option(min=1)] = 40,
    images: Annotated[int, typer.Option(min=1, help="Images per run.")] = 60,
    seed: int = 0,
    out: Annotated[Path | None, typer.Option(help="Also write the result as JSON.")] = None,
) -> None:
    """Interrupt, resume and compare runs."""
    moments = random.Random(seed)
    struck, problems, finished = Counter[str](), Counter[str](), 0
    with TemporaryDirectory() as name:
        folder = Path(name)
        draw_images(folder / "images", images)
        begin = time.monotonic()
        alone = start(folder / "images", folder / "alone")
        alone.communicate()
        if alone.returncode:
            raise SystemExit("the run that is left alone fails")
        seconds = time.monotonic() - begin
        expected = contents(folder / "alone")
        progress = iter(track(range(interruptions), "interruptions"))
        while struck.total() < interruptions:
            run = folder / f"run-{finished}"
            process = start(folder / "images", run)
            try:
                output, errors = process.communicate(timeout=moments.uniform(0, seconds))
            except subprocess.TimeoutExpired:
                one = moments.choice(SIGNALS)
                process.send_signal(one)
                output, errors = process.communicate()
                has_begun = bool(output)
                struck[f"{one.name} {'in the run' if has_begun else 'before its first line'}"] += 1
                next(progress)
                if process.returncode:  # otherwise the signal came after the last line
                    problems.update(problems_of(run, one, errors, has_begun))
                    continue
            if process.returncode:
                raise SystemExit(errors)
            ours = contents(run)
            different = {key for key in ours | expected if ours.get(key) != expected.get(key)}
            problems.update(f"{key} differs" for key in different)
            finished += 1
    seen = {
        "interruptions": struck.total(),
        "struck": dict(struck.most_common()),
        "runs finished": finished,
        "images of each": images,
        "problems": dict(problems),
    }
    text = json.dumps(seen, indent=2)
    typer.echo(text)
    if out is not None:
        out.write_text(text + "\n")
    if problems:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
