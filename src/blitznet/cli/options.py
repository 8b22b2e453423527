"""Options shared by several verbs."""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

if TYPE_CHECKING:
    from blitznet.model_files import NetworkFiles

MODEL = typer.Option(
    None,
    "--model",
    "-m",
    metavar="NAME|FILE",
    help="Bundled network, checkpoint, or exported file.",
    show_default="blitznet300-mobile",
)
SCORE = typer.Option(0.5, min=0, max=1, help="Minimum score of an object.")
DEVICE = typer.Option("auto", help="auto, cpu, cuda or cuda:N.")
ENGINE = typer.Option(
    None,
    metavar="NAME",
    help="Inference engine: auto (the fastest installed), onnxruntime, openvino, torch, ...",
    show_default="$BLITZNET_ENGINE, else auto",
)
BATCH = typer.Option(
    None, "--batch", min=1, help="Images per forward pass.", show_default="1 on a CPU, 8 on a GPU"
)
AVERAGED_CLASSES = typer.Option(
    None, metavar="A,B,C", help="Average over these classes.", show_default="all"
)
OUT = typer.Option(
    None,
    "--out",
    "-o",
    metavar="DIR",
    help="Folder for the results; must be empty or new.",
    show_default="a new folder in runs",
)
OVERWRITE = typer.Option(
    False,
    "--overwrite",
    help="Use DIR even if it is not empty; files of the same name are replaced.",
)
QUIET = typer.Option(False, "--quiet", "-q", help="Print only problems, and no progress bar.")


def require_network(model: str | None, engine: str | None, device: str) -> "NetworkFiles":
    """Find a network, and mistakes in its engine or device before loading anything heavy."""
    from blitznet.device import device_kind
    from blitznet.inference.engines.choose import AUTO, usual_engine
    from blitznet.model_files import find_network

    usual_engine(engine)
    if device != AUTO:
        device_kind(device)
    return find_network(model)


def require_split(data: Path, split: str, classes: Sequence[str] | None = None) -> None:
    """Find mistakes in a data description, split or class names before loading PyTorch."""
    from blitznet.data.description import read_description
    from blitznet.inference.selection import find_class

    description = read_description(data)
    description.entries(split)
    for name in classes or ():
        find_class(name, description.classes)


def split_names(text: str | None) -> tuple[str, ...] | None:
    """Split names at commas; None gives None."""
    if text is None:
        return None
    return tuple(name.strip() for name in text.split(",") if name.strip())
