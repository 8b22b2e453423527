"""Kill exports and conversions at random moments, and check the files they leave.

python tools/kill_export.py --kills 40

In turn, a small network is exported over an older file, and converted into the cache of the engines
that run exported files. Tracing, which takes nearly all the time and writes nothing, is done once
before; the process is killed at a random moment of the rest. A file under its final name must
always be complete, whether old or new. At the end, an undisturbed run must succeed and remove the
files that killed ones left.
"""

import os
import random
import signal
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import onnx
import torch
import typer
from rich.progress import track

from blitznet.detection.limits import PAPER
from blitznet.exporting import onnx_file
from blitznet.exporting.export import export
from blitznet.inference.engines.converted import CACHE_VARIABLE, exported_checkpoint
from blitznet.model.blitznet import BlitzNet
from blitznet.model.checkpoint import describe, save_checkpoint
from blitznet.model_info import BLITZNET300_MOBILE

SMALL = {"image_size": 64, "downscale_width": 16, "upscale_width": 16, "seg_width": 8}


def start(work: Callable[[], object], errors: Path) -> int:
    """Run `work` in a child process; returns its process id."""
    child = os.fork()
    if child:
        return child
    status = 1
    try:
        torch.set_num_threads(1)
        work()
        status = 0
    except BaseException:  # noqa: BLE001 - reported to the parent
        errors.write_text(traceback.format_exc())
    finally:
        os._exit(status)


def finish(child: int, errors: Path) -> None:
    """Wait for a process that must succeed."""
    _, status = os.waitpid(child, 0)
    if status:
        raise SystemExit(errors.read_text())


def is_alive_after(child: int, seconds: float) -> bool:
    """Whether the process is still running after so much time."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if os.waitpid(child, os.WNOHANG)[0]:
            return False
        time.sleep(0.005)
    return True


def unfinished(folder: Path) -> int:
    """Number of files and folders with temporary names."""
    return sum(1 for path in folder.rglob("*") if path.name.startswith(".blitznet-"))


def main(kills: Annotated[int, typer.Option(min=1)] = 40, seed: int = 0) -> None:
    """Kill exports and conversions, check their files, and run both undisturbed."""
    rng, seen = random.Random(seed), Counter[str]()
    torch.manual_seed(0)
    torch.set_num_threads(1)
    network = BlitzNet(BLITZNET300_MOBILE.model_copy(update=SMALL))
    with TemporaryDirectory() as name:
        folder = Path(name)
        os.environ[CACHE_VARIABLE] = str(folder / "cache")
        checkpoint, errors, out = folder / "a.safetensors", folder / "errors", folder / "out"
        save_checkpoint(checkpoint, network, describe(network))
        works = {
            "export": lambda: export(checkpoint, out / "a.onnx", overwrite=True, force=True),
            "conversion": lambda: exported_checkpoint(checkpoint),
        }
        module = onnx_file.ExportedNetwork(network, describe(network), PAPER).eval()
        images = torch.zeros(2, *[network.config.image_size] * 2, 3, dtype=torch.uint8)
        program = onnx_file.trace(module, {"images": images}, module.output_names)
        onnx_file.trace = lambda *_: program  # a child process changes its own copy
        begin = time.monotonic()
        finish(start(works["export"], errors), errors)
        seconds = time.monotonic() - begin
        for number in track(range(kills), "kills"):
            kind = list(works)[number % 2]
            if kind == "conversion":
                for path in (folder / "cache").rglob("*.onnx"):
                    path.unlink()
            child = start(works[kind], errors)
            if is_alive_after(child, rng.uniform(0, 1.1 * seconds)):
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                seen[f"{kind}s killed"] += 1
                seen["kills that left something"] += unfinished(folder) > 0
            else:
                seen[f"{kind}s that had ended"] += 1
            for path in folder.rglob("*.onnx"):
                if not any(part.startswith(".blitznet-") for part in path.parts):
                    onnx.load(path)
                    seen["whole files seen"] += 1
        for work in works.values():
            finish(start(work, errors), errors)
        left = unfinished(folder)
    typer.echo({**seen, "left at the end": left})
    sys.exit(left > 0)


if __name__ == "__main__":
    typer.run(main)
