"""Kill a short training run at random moments until it is done; compare with an undisturbed run.

python tools/kill.py --kills 200

Each start is a process with a data-loading worker. Only the process is killed, so the worker must
notice. When a run has finished, the next one begins, until the wanted number of kills is reached.
"""

import contextlib
import csv
import json
import os
import random
import signal
import sys
import time
import traceback
from collections import Counter
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated, Any

import torch
import typer
from rich.progress import track
from safetensors.torch import load_file

from blitznet.files.atomic_write import unfinished_files
from blitznet.model_info import ModelConfig
from blitznet.training import finish, loop
from blitznet.training.log import LOG_FILE
from blitznet.training.loop import MODEL_FILE, STATE_FILE
from blitznet.training.recipe import Recipe
from blitznet.training.resume import read_progress
from blitznet.training.run_record import RUN_FILE
from blitznet.training.train import train

DRAWN_PICTURES = Path(__file__).parents[1] / "tests" / "fixtures" / "voc_mini"
DATA = f"""
classes: voc
train:
  - {{format: voc, root: {DRAWN_PICTURES}, image_set: Main/trainval, masks: SegmentationClass}}
"""
RECIPE = Recipe(
    name="short",
    model=ModelConfig(
        name="short",
        backbone="test_efficientnet",
        image_size=64,
        finest_stride=8,
        downscale_width=32,
        upscale_width=32,
        seg_width=16,
        finest_scale=0.3,
        min_scale=0.5,
    ),
    backbone_weights=None,
    steps=120,
    global_batch_size=4,
    optimizer="adamw",
    lr=1e-3,
    schedule="cosine",
    warmup_steps=20,
    ema_decay=0.9,
    precision="fp32",
)
OPTIONS: dict[str, Any] = {"device": "cpu", "workers": 1}
LONGEST_S = 5.0  # maximum lifetime of a process


def start(run: Path, data: Path) -> int:
    """Train in a child process, or resume where the last one was killed; returns its process id."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        os.setsid()
        with (run.parent / "output.txt").open("a") as output:
            os.dup2(output.fileno(), 1)
            os.dup2(output.fileno(), 2)
        torch.set_num_threads(1)
        # So that many kills come while a file is being written.
        loop.LOG_EVERY, loop.SAVE_EVERY_S = 5, 0.0
        finish._export = lambda *_: None  # takes longer than the training
        if (run / RUN_FILE).exists():
            train(resume=run, **OPTIONS)
        else:
            train(data, RECIPE, out=run, **OPTIONS)
        status = 0
    except BaseException:  # noqa: BLE001 - reported to the parent, which stops
        traceback.print_exc()
    finally:
        sys.stderr.flush()
        os._exit(status)


def kill_until_done(run: Path, data: Path, moments: random.Random, kills_left: int) -> list[str]:
    """Kill and resume a run until it is done; return what it was doing at each kill."""
    struck: list[str] = []
    while True:
        before = step_of(run)
        child = start(run, data)
        deadline = time.monotonic() + moments.uniform(0, LONGEST_S)
        while len(struck) == kills_left or time.monotonic() < deadline:
            ended, status = os.waitpid(child, os.WNOHANG)
            if ended:
                if status:
                    raise SystemExit((run.parent / "output.txt").read_text())
                return struck
            time.sleep(0.002)
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        struck.append(place_of_kill(run, before))
        if (run / MODEL_FILE).exists():  # killed while exiting
            return struck


def place_of_kill(run: Path, step_before: int) -> str:
    """What the killed process was doing, judged by the files it left."""
    if not (run / RUN_FILE).exists():
        return "before the run's folder was there"
    if unfinished_files(run):
        return "while a file was being written"
    if (run / MODEL_FILE).exists():
        return "when all was done"
    return "while training" if step_of(run) > step_before else "before its first checkpoint"


def step_of(run: Path) -> int:
    """The step of the last training state."""
    state = run / STATE_FILE
    return read_progress(state).step if state.exists() else 0


def differences(run: Path, alone: Path) -> list[str]:
    """Differences between a run and the undisturbed one."""
    found = []
    ours, theirs = load_file(run / MODEL_FILE), load_file(alone / MODEL_FILE)
    if ours.keys() != theirs.keys():
        found.append("names of weights")
    found += [name for name in ours.keys() & theirs.keys() if not ours[name].equal(theirs[name])]
    rows, expected = losses(run), losses(alone)
    found += [f"{LOG_FILE}: {a} for {b}" for a, b in zip(rows, expected, strict=False) if a != b]
    if len(rows) != len(expected):
        found.append(f"{LOG_FILE}: {len(rows)} rows for {len(expected)}")
    if {path.name for path in run.iterdir()} != {path.name for path in alone.iterdir()}:
        found.append("files in the folder")
    return found


def losses(run: Path) -> list[dict[str, str]]:
    """The rows of the log without the speed."""
    with (run / LOG_FILE).open(newline="") as file:
        return [
            {key: value for key, value in row.items() if not key.startswith("pictures")}
            for row in csv.DictReader(file)
        ]


def processes_left(folder: Path) -> int:
    """Number of processes still running, workers included: all have the output file open."""
    output, count = (folder / "output.txt").resolve(), 0
    for process in Path("/proc").glob("[0-9]*"):
        with contextlib.suppress(OSError):
            count += any(link.resolve() == output for link in (process / "fd").iterdir())
    return count


def main(
    kills: Annotated[int, typer.Option(min=1)] = 200,
    seed: int = 0,
    out: Annotated[Path | None, typer.Option(help="Also write the result as JSON.")] = None,
) -> None:
    """Kill, resume and compare runs."""
    moments, struck, broken, finished = random.Random(seed), Counter[str](), Counter[str](), 0
    with TemporaryDirectory() as name:
        folder = Path(name)
        data = folder / "data.yaml"
        data.write_text(DATA)
        kill_until_done(folder / "alone", data, moments, 0)
        progress = iter(track(range(kills), "kills"))
        while struck.total() < kills:
            run = folder / f"run-{finished}"
            places = kill_until_done(run, data, moments, kills - struck.total())
            struck.update(places)
            broken.update(differences(run, folder / "alone"))
            finished += 1
            for _ in places:
                next(progress)
        deadline = time.monotonic() + 30
        while (left := processes_left(folder)) and time.monotonic() < deadline:
            time.sleep(1)
    seen = {
        "kills": struck.total(),
        "struck": dict(struck.most_common()),
        "runs finished": finished,
        "steps of each": RECIPE.steps,
        "different from the run left alone": dict(broken),
        "processes left": left,
    }
    text = json.dumps(seen, indent=2)
    typer.echo(text)
    if out is not None:
        out.write_text(text + "\n")
    if broken or left:
        raise typer.Exit(1)


if __name__ == "__main__":
    typer.run(main)
