"""The mean of two networks' weights, as a run folder that tools/bundle.py takes.

python tools/average.py runs/train/FIRST runs/train/SECOND --out runs/train/MEAN

The second must have started from the first: networks that have nothing in common have no useful
mean (Wortsman et al., Model soups, ICML 2022).
"""

import shutil
from pathlib import Path
from typing import Annotated

import typer

from blitznet.model.checkpoint import load_checkpoint, save_checkpoint
from blitznet.result_folder import make_folder
from blitznet.training.log import LOG_FILE
from blitznet.training.loop import MODEL_FILE
from blitznet.training.run_record import RUN_FILE


def average(first: Path, second: Path, out: Annotated[Path, typer.Option()]) -> None:
    """Average, and describe as the second run."""
    model, _ = load_checkpoint(first / MODEL_FILE)
    other, info = load_checkpoint(second / MODEL_FILE)
    ours, theirs = model.state_dict(), other.state_dict()
    means = {
        name: (tensor + theirs[name]) / 2 if tensor.is_floating_point() else tensor
        for name, tensor in ours.items()
    }
    model.load_state_dict(means)
    training = info.training | {"weights": f"mean of {first.name} and {second.name}"}
    make_folder(out, out)
    save_checkpoint(out / MODEL_FILE, model, info.model_copy(update={"training": training}))
    for name in (RUN_FILE, LOG_FILE):
        shutil.copy(second / name, out / name)


if __name__ == "__main__":
    typer.run(average)
