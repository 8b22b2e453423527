"""Compare the speed of our networks and torchvision's on the same images, in alternating turns.

    python benchmarks/race.py --images VOCdevkit/VOC2012/JPEGImages --json results/bench.json

Prints a table and one JSON line in the format of `blitznet bench`, which `blitznet table 7` reads.
"""

from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Annotated

import torch
import typer
from PIL import Image
from rich.console import Console
from rich.table import Table

from blitznet.bench import (
    BenchRow,
    Predict,
    Speeds,
    describe_machine,
    load_images,
    make_row,
    predict_with,
    speed_table,
    take_turns,
)
from blitznet.cli.options import split_names
from blitznet.device import choose_device
from blitznet.errors import CheckpointError, InputError
from blitznet.inference.engines.choose import engines_here, open_engine
from blitznet.model_files import find_checkpoint
from blitznet.model_info import MODELS
from peers import PEERS, TORCH_DEFAULT, build_peer, predict_with_peer
from untrained import write_single_tasks, write_untrained

Contestant = tuple[str, str]  # network and engine

# Speeds are given relative to these, as built by torchvision.
REFERENCES = ("ssd300_vgg16", "ssdlite320_mobilenet_v3_large")


def main(
    networks: Annotated[
        str, typer.Option(help="Names or files; random weights for names without a checkpoint.")
    ] = "blitznet300,blitznet300-s8,blitznet300-mobile",
    engines: Annotated[str | None, typer.Option(help="Our engines.", show_default="all")] = None,
    peers: Annotated[str, typer.Option(help="Parts of the peers' names.")] = ",".join(PEERS),
    two: Annotated[str, typer.Option(help="Engine for one network per task; '' = none.")] = "",
    images: Annotated[Path | None, typer.Option(help="Folder.", show_default="drawn")] = None,
    score: Annotated[float, typer.Option(help="Minimum score; peers keep their own.")] = 0.01,
    rounds: int = 3,
    seconds: Annotated[float, typer.Option(help="Minimum per network, all rounds.")] = 3.0,
    device: str = "auto",
    json_file: Annotated[Path | None, typer.Option("--json")] = None,
) -> None:
    """Time our networks and torchvision's."""
    predictors: dict[Contestant, Predict] = {}
    left_out: dict[str, str] = {}
    with TemporaryDirectory() as folder:
        decoded, decode_ms = load_images(images)
        on = split_names(engines) or engines_here(device)
        ours, random = _contestants(split_names(networks) or (), on, two, folder, decoded, score)
        for contestant, files in ours.items():
            _tell(f"opening {' on '.join(contestant)}")
            engine = contestant[1]
            try:
                opened = [open_engine(one, engine, device) for one in files]
            except InputError as reason:
                left_out[" on ".join(contestant)] = str(reason)
            else:
                predictors[contestant] = _one_after_the_other(
                    [predict_with(one, score) for one in opened]
                )
        for peer in [one for one in PEERS if any(part in one for part in split_names(peers) or ())]:
            model = build_peer(PEERS[peer], decoded)
            for engine in PEERS[peer].engines:
                _tell(f"opening {peer} on {engine}")
                predict = predict_with_peer(PEERS[peer], model, engine, choose_device(device))
                predictors[f"torchvision {peer}", engine] = predict
        named = {" on ".join(contestant): predict for contestant, predict in predictors.items()}
        samples = take_turns(named, decoded, 1, rounds, seconds, _tell)
    rows = [make_row(*contestant, 1, samples[" on ".join(contestant)]) for contestant in predictors]
    speeds = Speeds(
        machine=describe_machine(device),
        data=f"{images or 'drawn'}; random weights: {', '.join(random)}",
        decode_ms=decode_ms,
        score=score,
        rounds=rounds,
        seconds=seconds,
        rows=tuple(rows),
        left_out=left_out,
    )
    console = Console()
    console.width = max(console.width, 170)
    console.print(speed_table(speeds), _ratio_table(rows))
    typer.echo(speeds.to_json())
    if json_file is not None:
        json_file.write_text(speeds.to_json() + "\n")


def _contestants(
    networks: Sequence[str],
    engines: Sequence[str],
    two: str,
    folder: str,
    images: Sequence[Image.Image],
    score: float,
) -> tuple[dict[Contestant, list[str]], list[str]]:
    """Files of our networks, one each or one per task, and which networks have random weights."""
    files: dict[Contestant, list[str]] = {}
    random = ["torchvision's"]
    for given in networks:
        name, network = given, Path(given).stem
        if given in MODELS and not _has_weights(given):
            name = str(write_untrained(given, Path(folder), images, score))
            random.append(given)
        files |= {(network, engine): [name] for engine in engines}
        if two:
            files[f"{network}, two networks", two] = write_single_tasks(name, Path(folder))
    return files, random


def _has_weights(name: str) -> bool:
    try:
        find_checkpoint(name)
    except CheckpointError:
        return False
    return True


def _one_after_the_other(parts: Sequence[Predict]) -> Predict:
    """Predict with one network, or with one per task and a single resize for both."""

    def predict(images: Sequence[Image.Image]) -> dict[str, float]:
        times = [part(images) for part in parts]
        total = {stage: sum(one[stage] for one in times) for stage in times[0]}
        return total | {"resize": times[0]["resize"]}

    return predict


def _ratio_table(rows: Sequence[BenchRow]) -> Table:
    """How many times as fast as the references every row is."""
    fps = {(row.network, row.engine): row.fps for row in rows}
    table = Table("network", "engine", *(f"x {name.split('_')[0]}" for name in REFERENCES))
    for contestant, ours in fps.items():
        theirs = (fps.get((f"torchvision {name}", TORCH_DEFAULT)) for name in REFERENCES)
        table.add_row(*contestant, *(f"{ours / one:.1f}" if one else "-" for one in theirs))
    return table


def _tell(line: str) -> None:
    typer.echo(f"{line} ...", err=True)


if __name__ == "__main__":
    torch.manual_seed(0)
    typer.run(main)
