"""blitznet bench and its parts."""

import dataclasses
import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from blitznet.cli.app import app, print_table
from blitznet.cli.options import DeviceOption, split_names
from blitznet.extras import require

if TYPE_CHECKING:
    from rich.table import Table


bench_app = typer.Typer()
app.add_typer(bench_app, name="bench")

BenchDataOption = Annotated[
    Path | None,
    typer.Option(
        "--data",
        metavar="DATA.yaml",
        help="Data description.",
        show_default="pictures drawn by chance",
    ),
]
BenchJsonOption = Annotated[
    Path | None, typer.Option("--json", metavar="FILE", help="Also write the line of JSON there.")
]


@bench_app.callback(invoke_without_command=True)
def bench(
    context: typer.Context,
    networks: Annotated[
        str | None,
        typer.Option(
            "--networks",
            metavar="A,B",
            help="Of the family, bundled, checkpoints or exported files.",
            show_default="blitznet300,blitznet300-s8,blitznet300-mobile",
        ),
    ] = None,
    runtimes: Annotated[
        str | None,
        typer.Option("--runtimes", metavar="A,B", show_default="all that are installed"),
    ] = None,
    batches: Annotated[
        str | None,
        typer.Option("--batches", metavar="N,M", help="Pictures a call.", show_default="1,8"),
    ] = None,
    peers: Annotated[
        str | None,
        typer.Option(
            "--peers",
            metavar="A,B|none",
            help="Torchvision's networks, by a part of their names.",
            show_default="all",
        ),
    ] = None,
    data: BenchDataOption = None,
    split: Annotated[str, typer.Option("--split", help="Which of its splits.")] = "val",
    pictures: Annotated[int, typer.Option("--pictures", min=1, help="How many of them.")] = 16,
    score: Annotated[
        float, typer.Option("--score", min=0, max=1, help="Least score of an object.")
    ] = 0.01,
    seconds: Annotated[
        float | None,
        typer.Option(
            "--seconds", min=0, help="For each clock of each, at least.", show_default="2"
        ),
    ] = None,
    rounds: Annotated[
        int | None,
        typer.Option("--rounds", min=1, help="In which all take turns.", show_default="4"),
    ] = None,
    device: DeviceOption = "auto",
    quick: Annotated[
        bool, typer.Option("--quick", help="About a minute: one small network, two peers.")
    ] = False,
    memory: Annotated[
        bool | None,
        typer.Option(
            "--memory/--no-memory", help="Measure that, too.", show_default="unless --quick"
        ),
    ] = None,
    json_file: BenchJsonOption = None,
) -> None:
    """Time networks, runtimes and peers on the same pictures, in turns.

    From decoded pictures to boxes and maps, stage by stage; without a command behind it.
    """
    if context.invoked_subcommand is not None:
        return
    from blitznet.bench.peers import find_peers
    from blitznet.bench.record import write_record
    from blitznet.bench.speed import QUICK, SpeedOptions, bench_speed
    from blitznet.bench.speed_table import best_lines, speed_table

    changes: dict[str, Any] = {
        "networks": split_names(networks),
        "runtimes": split_names(runtimes),
        "batches": _numbers(batches, "--batches"),
        "peers": None if peers is None else find_peers(split_names(peers) or ()),
        "seconds": seconds,
        "rounds": rounds,
        "memory": memory,
    }
    options = dataclasses.replace(
        QUICK if quick else SpeedOptions(),
        data=data,
        split=split,
        pictures=pictures,
        score=score,
        device=device,
        **{name: value for name, value in changes.items() if value is not None},
    )
    record = bench_speed(options)
    if json_file is not None:
        write_record(json_file, record)
    print_table(speed_table(record), least_width=170)
    for line in best_lines(record):
        typer.echo(line)
    typer.echo(record.model_dump_json())


def _numbers(text: str | None, option: str) -> tuple[int, ...] | None:
    names = split_names(text)
    if names is None:
        return None
    if not names or not all(name.isdecimal() and int(name) > 0 for name in names):
        raise typer.BadParameter(f"{option} takes numbers from 1 on with commas, not {text!r}")
    return tuple(int(name) for name in names)


@bench_app.command("train")
def bench_train(
    networks: Annotated[
        str, typer.Option("--networks", metavar="A,B", help="Of the family.")
    ] = "blitznet300-mobile,blitznet300",
    data: BenchDataOption = None,
    split: Annotated[str, typer.Option("--split", help="Which of its splits.")] = "train",
    steps: Annotated[int, typer.Option("--steps", min=1, help="That count.")] = 20,
    batch: Annotated[
        int | None,
        typer.Option(
            "--batch",
            min=2,
            help="Pictures a step.",
            show_default="8 on a CPU, on a GPU the recipe's",
        ),
    ] = None,
    workers: Annotated[
        int, typer.Option("--workers", min=0, help="Processes that read pictures.")
    ] = 2,
    device: DeviceOption = "auto",
    json_file: BenchJsonOption = None,
) -> None:
    """Time training steps, with a fixed batch and with real input."""
    require("lightning_fabric", "train", "training")
    from blitznet.bench.record import write_record
    from blitznet.bench.train import bench_train
    from blitznet.bench.train_table import train_table

    names = split_names(networks) or ()
    record = bench_train(names, data, split, steps, batch, workers, device)
    if json_file is not None:
        write_record(json_file, record)
    print_table(train_table(record), least_width=140)
    typer.echo(record.model_dump_json())


@bench_app.command("data")
def bench_data(
    data: BenchDataOption = None,
    split: Annotated[str, typer.Option("--split", help="Which of its splits.")] = "train",
    pictures: Annotated[int, typer.Option("--pictures", min=1, help="How many of them.")] = 64,
    size: Annotated[int, typer.Option("--size", min=32, help="Side of the input, pixels.")] = 300,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="How often to measure.")] = 5,
    workers: Annotated[int, typer.Option("--workers", min=0, help="Of the data loader.")] = 2,
    json_file: BenchJsonOption = None,
) -> None:
    """Time the training input beside torchvision's transforms, per core."""
    from blitznet.bench.data import bench_data, data_table

    result = bench_data(data, split, pictures, size, rounds, workers)
    _report_bench(result, data_table(result), json_file)


@bench_app.command("views")
def bench_views(
    data: BenchDataOption = None,
    split: Annotated[str, typer.Option("--split", help="Which of its splits.")] = "train",
    draws: Annotated[int, typer.Option("--draws", min=2, help="Views of each.")] = 20_000,
    json_file: BenchJsonOption = None,
) -> None:
    """Compare which views of pictures are drawn in training with torchvision's transforms."""
    from blitznet.bench.views import bench_views, views_table

    result = bench_views(data, split, draws)
    _report_bench(result, views_table(result), json_file)


def _report_bench(result: dict[str, object], table: "Table", json_file: Path | None) -> None:
    """A table for people and one line of JSON for programs."""
    print_table(table, least_width=120)
    line = json.dumps(result)
    typer.echo(line)
    if json_file is not None:
        from blitznet.whole_file import whole_file

        with whole_file(json_file) as temporary:
            temporary.write_text(line + "\n")
