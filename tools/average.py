"""Average the weights of networks into a run folder for tools/bundle.py.

python tools/average.py runs/train/FIRST runs/train/SECOND --out runs/train/MEAN

Each argument is a run or a bundled network; the last must be a run. All must have started from the
first, or from the same network as the first: the mean of unrelated networks is useless (Wortsman
et al., Model soups, ICML 2022).
"""

import shutil
from pathlib import Path
from typing import Annotated

import torch
import typer

from blitznet.files.result_folder import make_folder
from blitznet.model.checkpoint import load_checkpoint, save_checkpoint
from blitznet.model_files import bundled_networks
from blitznet.training.log import LOG_FILE
from blitznet.training.loop import MODEL_FILE
from blitznet.training.run_record import RUN_FILE


def average(networks: list[str], out: Annotated[Path, typer.Option()]) -> None:
    """Average the networks; all metadata is that of the last run."""
    loaded = [load_checkpoint(checkpoint_of(network)) for network in networks]
    states = [model.state_dict() for model, _ in loaded]
    model, info = loaded[-1]
    means = {
        name: torch.stack([state[name] for state in states]).mean(dim=0)
        if tensor.is_floating_point()
        else tensor
        for name, tensor in states[-1].items()
    }
    model.load_state_dict(means)
    *names, last = (Path(network).name for network in networks)
    training = info.training | {"weights": f"mean of {', '.join(names)} and {last}"}
    make_folder(out, out, overwrite=None)
    save_checkpoint(out / MODEL_FILE, model, info.model_copy(update={"training": training}))
    for name in (RUN_FILE, LOG_FILE):
        shutil.copy(Path(networks[-1]) / name, out / name)


def checkpoint_of(network: str) -> Path:
    """The checkpoint of a bundled network or a run."""
    bundled = bundled_networks()
    return (
        bundled[network].require_checkpoint() if network in bundled else Path(network) / MODEL_FILE
    )


if __name__ == "__main__":
    typer.run(average)
