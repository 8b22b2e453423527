"""The command line: one short handler a verb, heavy imports inside, so that `--help` is instant."""

import collections
import dataclasses
import io
import json
import sys
import warnings
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from blitznet import __version__
from blitznet.errors import InputError, PictureError
from blitznet.extras import require
from blitznet.progress import with_progress
from blitznet.result_folder import make_folder

if TYPE_CHECKING:
    from rich.table import Table

    from blitznet.inference.parts import Part
    from blitznet.inference.predictor import Predictor
    from blitznet.inference.result_files import ResultFiles
    from blitznet.inference.run import Result

app = typer.Typer(
    help="Boxes of every object and the class of every pixel, from one network.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)

bench_app = typer.Typer()
app.add_typer(bench_app, name="bench")

ModelOption = Annotated[
    str | None,
    typer.Option(
        "--model",
        "-m",
        metavar="NAME|FILE",
        help="Bundled network, checkpoint, or exported file.",
        show_default="best bundled one",
    ),
]
ScoreOption = Annotated[
    float, typer.Option("--score", min=0, max=1, help="Least score of an object.")
]
DeviceOption = Annotated[str, typer.Option("--device", help="auto, cpu, cuda, cuda:N or mps.")]
RuntimeOption = Annotated[
    str,
    typer.Option(
        "--runtime",
        metavar="NAME",
        envvar="BLITZNET_RUNTIME",
        help="What runs the network: auto = the fastest here, torch, openvino, ...",
    ),
]
CalibrateOption = Annotated[
    Path | None,
    typer.Option(
        "--calibrate",
        metavar="DATA.yaml",
        help="Pictures for --runtime openvino-int8, once for a network.",
        show_default="those of last time",
    ),
]
BatchOption = Annotated[
    int | None,
    typer.Option(
        "--batch", min=1, help="Pictures a forward pass.", show_default="1 on a CPU, 8 on a GPU"
    ),
]
OutOption = Annotated[
    Path | None,
    typer.Option(
        "--out",
        "-o",
        metavar="DIR",
        help="Folder for the results; must be empty or new.",
        show_default="runs/VERB, or the next free runs/VERB-N",
    ),
]
OverwriteOption = Annotated[
    bool, typer.Option("--overwrite", help="Write into DIR even if it holds something.")
]


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


def main(arguments: Sequence[str] | None = None) -> int:
    """Run one command.

    Args:
        arguments: without the program's name; None = those of the process.

    Returns:
        The exit code: 0 done, 1 wrong input, 2 wrong usage, 130 interrupted.
    """
    warnings.filterwarnings("ignore", module=r"PIL\.")  # damaged pictures get a line of ours
    for stream in (sys.stdin, sys.stdout, sys.stderr):  # file names need not be valid text
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="surrogateescape")
    try:
        app(arguments, prog_name="blitznet")
    except InputError as error:
        _complain(error)
        return 1
    except KeyboardInterrupt:
        return 130
    except SystemExit as end:
        return end.code if isinstance(end.code, int) else 0
    return 0


def _complain(problem: object) -> None:
    line = str(problem).replace("\n", " ")
    typer.echo(f"blitznet: {line}", err=True)


def _show_version(is_wanted: bool) -> None:
    if is_wanted:
        typer.echo(f"blitznet {__version__}")
        raise typer.Exit()


@app.callback()
def _common(
    version: Annotated[
        bool,
        typer.Option("--version", callback=_show_version, is_eager=True, help="Show the version."),
    ] = False,
) -> None:
    """Options that come before the verb."""


@app.command()
def predict(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE",
            help="Pictures, videos, folders, patterns such as 'trip/**/*.jpg', a camera's number, "
            "a stream's URL, or - for a list on stdin.",
        ),
    ],
    model: ModelOption = None,
    score: ScoreOption = 0.5,
    device: DeviceOption = "auto",
    runtime: RuntimeOption = "auto",
    calibrate: CalibrateOption = None,
    batch: BatchOption = None,
    out: OutOption = None,
    overwrite: OverwriteOption = False,
    save_masks: Annotated[
        bool, typer.Option("--save-masks", help="Also write masks/NAME.png: a class id a pixel.")
    ] = False,
    no_draw: Annotated[
        bool, typer.Option("--no-draw", help="Do not write pictures and videos with boxes and map.")
    ] = False,
    label_formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            metavar="coco|voc|yolo",
            help="Also write labels/FORMAT for labelling tools; several with commas.",
            show_default="none",
        ),
    ] = None,
    track: Annotated[
        bool, typer.Option("--track", help="Follow objects through a video: an id for each.")
    ] = False,
    every: Annotated[
        int, typer.Option("--every", min=1, metavar="N", help="Every N-th frame of a video.")
    ] = 1,
    max_frames: Annotated[
        int | None,
        typer.Option(
            "--max-frames", min=1, help="Stop after so many of a video.", show_default="all"
        ),
    ] = None,
    reconnect: Annotated[
        int,
        typer.Option("--reconnect", min=0, help="Asks for a lost camera or stream so many times."),
    ] = 5,
    watch: Annotated[
        bool, typer.Option("--watch", help="Also wait for pictures that come into the folder.")
    ] = False,
    idle_seconds: Annotated[
        float | None,
        typer.Option(
            "--idle-seconds", min=0, help="End --watch if none came.", show_default="never"
        ),
    ] = None,
) -> None:
    """Find the objects in pictures and videos, and the class of every pixel.

    Writes NAME.jpg or NAME.mp4 with boxes and map for each, and predictions.jsonl.
    """
    from blitznet.inference.sources import find_sources, find_watched_folder, paths_of

    watched = find_watched_folder(sources) if watch else None
    found, problems = find_sources([] if watched else sources, sys.stdin)
    for problem in problems:
        _complain(problem)
    if not found and not watched:
        raise typer.Exit(1)

    from blitznet.inference.parts import check_sources, prediction_parts, watched_parts
    from blitznet.inference.result_files import choose_label_formats, open_results
    from blitznet.inference.streams.address import is_stream_name
    from blitznet.inference.streams.run_video import VideoOptions

    options = VideoOptions(every, max_frames, track, reconnect)
    check_sources(found, watched, bool(label_formats), options)
    is_live = watched is not None or any(is_stream_name(str(source)) for source in sources)
    predictor = _load(model, device, runtime, calibrate, "latency" if is_live else "throughput")
    network = predictor.info.model
    formats = choose_label_formats(label_formats or (), network.detect, network.segment)
    folder = make_folder(out, Path("runs/predict"), overwrite)
    inputs = paths_of(found)
    done: collections.Counter[str] = collections.Counter()
    wanted: collections.Counter[str] = collections.Counter()
    with open_results(folder, inputs, predictor.names, not no_draw, save_masks, formats) as files:
        parts = (
            watched_parts(predictor, watched, files, score, idle_seconds)
            if watched
            else prediction_parts(predictor, found, files, score, batch, options)
        )
        for part in parts:
            num_done, num_wanted = _show_part(part, files)
            done[part.kind] += num_done
            wanted[part.kind] += num_wanted
    counts = [f"{done[kind]} of {wanted[kind]} {kind}" for kind in wanted]
    typer.echo(f"{' and '.join(counts)} done, results in {folder}")
    if problems or done != wanted:
        raise typer.Exit(1)


@app.command()
def demo(
    sources: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SOURCE]", help="Pictures of yours, besides the demo's."),
    ] = None,
    model: ModelOption = None,
    score: ScoreOption = 0.5,
    device: DeviceOption = "auto",
    runtime: RuntimeOption = "auto",
    calibrate: CalibrateOption = None,
    out: OutOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Show what the network finds in the photographs that come with scikit-image."""
    from blitznet.inference.demo import demo_pictures, scene_rows, scene_table
    from blitznet.inference.sources import find_pictures

    own_pictures, problems = find_pictures(sources or [], sys.stdin)
    for problem in problems:
        _complain(problem)
    pictures = demo_pictures() + own_pictures

    from blitznet.inference.run import predict_to_folder

    predictor = _load(model, device, runtime, calibrate, "throughput")
    folder = make_folder(out, Path("runs/demo"), overwrite)
    table = scene_table()
    num_read = 0
    for path, result in _readable(
        predict_to_folder(predictor, pictures, folder, score), len(pictures)
    ):
        for row in scene_rows(path, result.scene):
            table.add_row(*row)
        num_read += 1
    _print_table(table)
    typer.echo(f"The pictures are in {folder.resolve()}")
    if problems or num_read < len(pictures):
        raise typer.Exit(1)


@app.command()
def train(
    recipe: Annotated[
        str | None,
        typer.Argument(
            metavar="RECIPE",
            help="Named recipe, YAML file, or experiment; see docs/training.md, experiments.md.",
        ),
    ] = None,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="DATA.yaml",
            help="Data description.",
            show_default="an experiment's own",
        ),
    ] = None,
    settings: Annotated[
        list[str] | None,
        typer.Option("--set", metavar="KEY=VALUE", help="Change the recipe, as --set steps=1000."),
    ] = None,
    resume: Annotated[
        Path | None, typer.Option("--resume", metavar="RUN", help="Go on with the run in a folder.")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="DIR",
            help="Folder of the run; must be empty or new.",
            show_default="runs/train/RECIPE, or the next free one",
        ),
    ] = None,
    max_minutes: Annotated[
        float | None,
        typer.Option("--max-minutes", min=0, help="Stop in time, resumable.", show_default="none"),
    ] = None,
    devices: Annotated[int, typer.Option("--devices", min=1, help="GPUs or processes.")] = 1,
    device: Annotated[str, typer.Option("--device", help="auto, cpu or cuda.")] = "auto",
    workers: Annotated[
        int, typer.Option("--workers", min=0, help="Processes that read pictures, a device.")
    ] = 2,
    skip_bad: Annotated[
        bool, typer.Option("--skip-bad", help="Leave out pictures with errors, and list them.")
    ] = False,
) -> None:
    """Train a network on pictures with boxes, maps, or both; --resume RUN goes on with one."""
    if resume is None and recipe is None:
        raise typer.BadParameter("give a RECIPE and --data DATA.yaml, or --resume RUN")
    if resume is not None and (recipe or data or settings or out or skip_bad):
        raise typer.BadParameter("--resume RUN takes recipe and data from the run; give it alone")

    require("lightning_fabric", "train", "training")
    from blitznet.data_check.skipped import skipped_lines
    from blitznet.device import choose_device
    from blitznet.experiments.catalogue import EXPERIMENTS, find_training
    from blitznet.training.loop import LoopOptions
    from blitznet.training.run import (
        is_first_process,
        resume_training,
        start_training,
        validate_run,
    )
    from blitznet.training.show import show_training

    accelerator = choose_device(device).type
    options = LoopOptions(devices, accelerator, workers, max_minutes)
    if resume is not None:
        folder, total, rows = resume_training(resume, options)
    else:
        assert recipe is not None
        if data is None and recipe not in EXPERIMENTS:
            raise typer.BadParameter(
                "give --data DATA.yaml; only the experiments of `blitznet table` have their own"
            )
        chosen, described = find_training(recipe, data, tuple(settings or ()))
        folder, total, rows = start_training(chosen, described, out, options, skip_bad)
        for line in skipped_lines(folder) if is_first_process() else ():
            typer.echo(f"left out: {line}")
    if not is_first_process():
        collections.deque(rows, maxlen=0)
        return
    last_step = show_training(rows, total)
    if last_step < total:
        typer.echo(f"Stopped at step {last_step} of {total}; blitznet train --resume {folder}")
        return
    metrics = validate_run(folder, device)
    if metrics is not None:
        from blitznet.training.metrics_table import metrics_table

        _print_table(metrics_table(metrics))
    typer.echo(f"The trained network is in {folder}")


@app.command(name="eval")
def evaluate(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="Bundled network, checkpoint, or exported file."),
    ],
    data: Annotated[Path, typer.Option("--data", metavar="DATA.yaml", help="Data description.")],
    split: Annotated[str, typer.Option("--split", help="Which of its splits.")] = "val",
    classes: Annotated[
        str | None,
        typer.Option("--classes", metavar="A,B,C", help="Average these.", show_default="all"),
    ] = None,
    device: DeviceOption = "auto",
    runtime: Annotated[
        str | None,
        typer.Option(
            "--runtime",
            metavar="NAME",
            help="What runs the network: torch, openvino, ..., or auto.",
            show_default="torch, which the others are measured by",
        ),
    ] = None,
    calibrate: CalibrateOption = None,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Pictures a forward pass.")] = 16,
    workers: Annotated[
        int, typer.Option("--workers", min=0, help="Processes that read pictures.")
    ] = 1,
    server: Annotated[
        str | None,
        typer.Option(
            "--submission",
            metavar="voc|coco",
            help="Also write what its evaluation server takes; the split needs no labels then.",
            show_default="none",
        ),
    ] = None,
    out: OutOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Measure a network on labelled pictures: mAP (VOC07, VOC12, COCO) and mIoU."""
    from blitznet.training.metrics_table import metrics_table
    from blitznet.training.run import evaluate_checkpoint
    from blitznet.training.run_record import METRICS_FILE, write_json
    from blitznet.training.submission import Submission

    chosen = [name.strip() for name in classes.split(",")] if classes else None
    default, submission = Path("runs/eval"), None
    if server is not None:
        submission = Submission(server, make_folder(out, default, overwrite))
    metrics = evaluate_checkpoint(
        model,
        data,
        split,
        device,
        chosen,
        batch,
        workers,
        submission=submission,
        runtime=runtime,
        calibrate=calibrate,
    )
    folder = submission.folder if submission else make_folder(out, default, overwrite)
    if submission is not None:
        typer.echo(f"{metrics['pictures']} pictures; what the {server} server takes is in {folder}")
    if metrics["ap"] is None and metrics["iou"] is None:
        return
    write_json(folder / METRICS_FILE, metrics)
    _print_table(metrics_table(metrics))
    typer.echo(f"{metrics['pictures']} pictures; figures in {folder / METRICS_FILE}")


@app.command()
def export(
    model: Annotated[
        str,
        typer.Argument(metavar="MODEL", help="Bundled network or checkpoint file."),
    ],
    format_name: Annotated[
        str, typer.Option("--format", metavar="onnx|openvino|torchscript", help="Of the file.")
    ] = "onnx",
    precision: Annotated[
        str, typer.Option("--precision", metavar="fp32|fp16|int8", help="Of the weights.")
    ] = "fp32",
    calibrate: Annotated[
        Path | None,
        typer.Option(
            "--calibrate",
            metavar="DATA.yaml",
            help="Pictures for int8: of its split train, or its first one.",
            show_default="none",
        ),
    ] = None,
    score: Annotated[
        float, typer.Option("--score", min=1e-6, max=1, help="Least score of an object.")
    ] = 0.01,
    iou: Annotated[
        float, typer.Option("--iou", min=0, max=1, help="Drop weaker boxes that overlap more.")
    ] = 0.45,
    top: Annotated[int, typer.Option("--top", min=1, help="Most objects a picture.")] = 200,
    data: Annotated[
        Path | None,
        typer.Option(
            "--data",
            metavar="DATA.yaml",
            help="Compare mAP and mIoU on this, too.",
            show_default="none",
        ),
    ] = None,
    split: Annotated[str, typer.Option("--split", help="Which split of --data.")] = "val",
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FILE", help="The file.", show_default="MODEL.onnx and the like"
        ),
    ] = None,
    overwrite: Annotated[
        bool, typer.Option("--overwrite", help="Replace FILE if it is there.")
    ] = False,
    force: Annotated[
        bool, typer.Option("--force", help="Keep the file even if it differs too much.")
    ] = False,
) -> None:
    """Write a network as one file with everything inside, and compare it with the checkpoint.

    Exits with 1, without the file, if the two differ more than the precision explains.
    """
    from blitznet.export.limits import Limits
    from blitznet.export.parity import parity_table
    from blitznet.export.run import export_network

    limits = Limits(score, iou, top)
    exported = export_network(
        model, format_name, precision, out, limits, calibrate, data, split, overwrite, force
    )
    _print_table(parity_table(exported.parity))
    for problem in exported.problems:
        _complain(problem)
    if exported.is_kept:
        typer.echo(f"The file is {exported.path}, the comparison {exported.report}")
    if exported.problems:
        if not exported.is_kept:
            _complain(
                f"{exported.path} was not written; --force keeps it, {exported.report} says more"
            )
        raise typer.Exit(1)


@app.command()
def check_data(
    data: Annotated[Path, typer.Argument(metavar="DATA.yaml", help="Data description.")],
    splits: Annotated[
        list[str] | None,
        typer.Option("--split", metavar="NAME", help="Check this one.", show_default="all"),
    ] = None,
    model: Annotated[
        str,
        typer.Option("--model", "-m", metavar="NAME", help="Whose anchors boxes must match."),
    ] = "blitznet300",
    workers: Annotated[
        int | None,
        typer.Option("--workers", min=0, help="Processes.", show_default="number of cores"),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Everything, for programs.")] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="List every warning.")] = False,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="DIR",
            help="Write a sheet of samples and statistics as pictures; must be empty or new.",
            show_default="none",
        ),
    ] = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Find everything in pictures and labels that would hurt a training run.

    Exits with 1 if there is an error; warnings do not count.
    """
    from blitznet.data.description import read_description
    from blitznet.data_check.check import check_data, default_workers, open_data
    from blitznet.data_check.report import finding_lines, findings_table, splits_table, verdict
    from blitznet.model.config import find_model

    description, config = read_description(data), find_model(model)
    if out is not None:
        from blitznet.data_check.folder import write_folder
        from blitznet.data_check.plots import require_plots

        require_plots()
        make_folder(out, out, overwrite)
    workers = default_workers() if workers is None else workers
    opened = open_data(description, data, splits)
    report = check_data(opened, config, workers)
    if out is not None:
        write_folder(out, report, opened, config)
    if as_json:
        typer.echo(json.dumps(report.to_dict(), indent=2))
    else:
        _print_table(splits_table(report))
        if report.findings:
            _print_table(findings_table(report))
        for line in finding_lines(report, verbose):
            typer.echo(line)
        typer.echo(verdict(report))
        if out is not None:
            typer.echo(f"The sheet and the statistics are in {out}")
    if report.errors:
        raise typer.Exit(1)


@app.command()
def models(
    as_json: Annotated[bool, typer.Option("--json", help="Everything, for programs.")] = False,
) -> None:
    """List the networks that come with the package: how they were trained, how good they are."""
    from blitznet.inference.model_table import model_records, model_table
    from blitznet.model.checkpoint import bundled_checkpoints, default_model, read_info

    files = bundled_checkpoints()
    infos = {name: read_info(file) for name, file in files.items()}
    if as_json:
        typer.echo(json.dumps(model_records(files, infos), indent=2))
    elif infos:
        _print_table(model_table(files, infos, default_model()))
    else:
        typer.echo("This installation bundles no network.")


@app.command()
def table(
    number: Annotated[int, typer.Argument(metavar="N", help="Of the paper's table, 1 to 8.")],
    per_class: Annotated[
        bool, typer.Option("--per-class", help="Also the figures of single classes.")
    ] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="For a document.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Everything, for programs.")] = False,
    figure: Annotated[
        Path | None,
        typer.Option(
            "--figure",
            metavar="FILE.png",
            help="Table 7: draw figure 4, accuracy against speed.",
            show_default="none",
        ),
    ] = None,
    results: Annotated[
        Path, typer.Option("--results", metavar="DIR", help="Where our figures are.")
    ] = Path("results"),
    run: Annotated[
        bool, typer.Option("--run", help="First train and measure what is missing of the twins.")
    ] = False,
    full: Annotated[
        bool, typer.Option("--full", help="With --run: of the paper's rows, on the full data sets.")
    ] = False,
    only: Annotated[
        str | None,
        typer.Option(
            "--only", metavar="A,B,C", help="With --run: these experiments.", show_default="all"
        ),
    ] = None,
    seeds: Annotated[
        str | None,
        typer.Option(
            "--seeds", metavar="0,1", help="With --run.", show_default="the experiment's own"
        ),
    ] = None,
    max_minutes: Annotated[
        float | None,
        typer.Option("--max-minutes", min=0, help="With --run: stop in time.", show_default="none"),
    ] = None,
    device: DeviceOption = "auto",
    workers: Annotated[
        int, typer.Option("--workers", min=0, help="Processes that read pictures.")
    ] = 2,
) -> None:
    """Show a table of the paper, its figures beside ours.

    With --run it goes on with what an earlier one began; Ctrl-C and kills cost no finished step.
    """
    from blitznet.experiments.catalogue import find_table
    from blitznet.experiments.figure_4 import draw_figure_4
    from blitznet.experiments.report import fill_in, notes_of, to_dict
    from blitznet.experiments.results import Results
    from blitznet.experiments.show import grid_of, markdown_table, terminal_table

    chosen = find_table(number)
    if run:
        require("lightning_fabric", "train", "training")
        from blitznet.experiments.training_queue import (
            choose_experiments,
            missing_jobs,
            read_seeds,
            run_jobs,
        )

        names = [name.strip() for name in only.split(",")] if only else None
        wanted = choose_experiments(chosen, names, full)
        jobs = missing_jobs(wanted, Results(results), read_seeds(seeds))
        for (experiment, seed), finished in run_jobs(jobs, results, device, workers, max_minutes):
            state = "done" if finished else "not finished; the same command goes on with it"
            typer.echo(f"{experiment.name}, seed {seed}: {state}", err=True)
    found = Results(results)
    reports = fill_in(chosen, found, per_class or as_json)
    notes = notes_of(chosen, found)
    if figure is not None:
        draw_figure_4(chosen, found, figure)
    if as_json:
        typer.echo(json.dumps(to_dict(chosen, reports, notes), indent=2))
        return
    typer.echo(f"Table {number}: {chosen.caption}. Figures in per cent unless said.")
    for report in reports:
        grid = grid_of(report, per_class)
        typer.echo(f"\n{grid.title}\n")
        if markdown:
            typer.echo(markdown_table(grid))
        else:
            _print_table(terminal_table(grid))
    typer.echo()
    for note in notes:
        typer.echo(f"- {note}")


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
        "networks": _names(networks),
        "runtimes": _names(runtimes),
        "batches": _numbers(batches, "--batches"),
        "peers": None if peers is None else find_peers(_names(peers) or ()),
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
    _print_table(speed_table(record), least_width=170)
    for line in best_lines(record):
        typer.echo(line)
    typer.echo(record.model_dump_json())


def _names(text: str | None) -> tuple[str, ...] | None:
    """Of a list with commas; None for None."""
    if text is None:
        return None
    return tuple(name.strip() for name in text.split(",") if name.strip())


def _numbers(text: str | None, option: str) -> tuple[int, ...] | None:
    names = _names(text)
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

    record = bench_train(_names(networks) or (), data, split, steps, batch, workers, device)
    if json_file is not None:
        write_record(json_file, record)
    _print_table(train_table(record))
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


@bench_app.command("postprocess")
def bench_postprocess(
    data: BenchDataOption = None,
    split: Annotated[str, typer.Option("--split", help="Which of its splits.")] = "val",
    model: ModelOption = None,
    batch: Annotated[int, typer.Option("--batch", min=1, help="Pictures at once.")] = 16,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="How often to measure.")] = 5,
    json_file: BenchJsonOption = None,
) -> None:
    """Time post-processing beside torchvision's batched_nms, on pictures and at its worst."""
    from blitznet.bench.postprocess import bench_postprocess, postprocess_table

    result = bench_postprocess(data, split, model, batch, rounds)
    _report_bench(result, postprocess_table(result), json_file)


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
    _print_table(table)
    line = json.dumps(result)
    typer.echo(line)
    if json_file is not None:
        from blitznet.whole_file import whole_file

        with whole_file(json_file) as temporary:
            temporary.write_text(line + "\n")


def _show_part(part: "Part", files: "ResultFiles") -> tuple[int, int]:
    """Go through one part of a run; returns how many pictures or videos could be read, of all."""
    from blitznet.inference.run import describe
    from blitznet.inference.streams.run_video import describe_video

    num_read = num_wrong = 0
    with closing(part.results) as results:
        for source, result in with_progress(results, part.total, part.what, part.is_video):
            if isinstance(result, PictureError):
                _complain(result)
                num_wrong += 1
                continue
            num_read += 1
            if not part.is_video:
                typer.echo(f"{source}: {describe(result.scene)}")
    if not part.is_video:
        return num_read, num_read + num_wrong
    if not num_wrong:
        typer.echo(f"{part.what}: {describe_video(files.videos[-1])}")
    return int(not num_wrong), 1


def _readable(
    results: Generator[tuple[Path, "Result | PictureError"]], total: int
) -> Iterator[tuple[Path, "Result"]]:
    """The pictures that could be read; of each of the others, the reason on standard error."""
    with closing(results):
        for path, result in with_progress(results, total, "pictures"):
            if isinstance(result, PictureError):
                _complain(result)
            else:
                yield path, result


def _load(
    model: str | None,
    device: str,
    runtime: str,
    calibrate: Path | None,
    hint: Literal["latency", "throughput"],
) -> "Predictor":
    """A network on its runtime; says which one, if that was ours to choose."""
    from blitznet.inference.predictor import load

    predictor = load(model, device, runtime, hint=hint, calibrate=calibrate, tell=_complain)
    if runtime == "auto":
        typer.echo(f"blitznet: runs on {predictor.runtime.name} ({predictor.device})", err=True)
    return predictor


def _print_table(table: "Table", least_width: int = 0) -> None:
    """As wide as the terminal; a table that would be cut to pieces may be wider."""
    from rich.console import Console

    console = Console()
    console.width = max(console.width, least_width)
    console.print(table)
