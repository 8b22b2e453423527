"""blitznet predict, blitznet demo."""

import collections
import sys
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from blitznet.cli.app import app, complain, print_table
from blitznet.cli.options import (
    BatchOption,
    CalibrateOption,
    DeviceOption,
    ModelOption,
    OutOption,
    OverwriteOption,
    RuntimeOption,
    ScoreOption,
)
from blitznet.errors import PictureError
from blitznet.progress import with_progress
from blitznet.result_folder import make_folder

if TYPE_CHECKING:
    from blitznet.inference.engines.openvino_runtime import Hint
    from blitznet.inference.folder_output import ResultFiles
    from blitznet.inference.parts import Part
    from blitznet.inference.predictor import Predictor
    from blitznet.inference.run import Result


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
    runtime: RuntimeOption = None,
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
        complain(problem)
    if not found and not watched:
        raise typer.Exit(1)

    from blitznet.inference.folder_output import choose_label_formats, open_results
    from blitznet.inference.parts import check_sources, prediction_parts, watched_parts
    from blitznet.inference.video.address import is_stream_name
    from blitznet.inference.video.run_video import VideoOptions

    options = VideoOptions(every, max_frames, track, reconnect)
    check_sources(found, watched, bool(label_formats), options)
    is_live = watched is not None or any(is_stream_name(str(source)) for source in sources)
    is_one_picture = len(found) == 1 and isinstance(found[0], Path)
    hint: Hint = "latency" if is_live or is_one_picture else "throughput"
    predictor = _load(model, device, runtime, calibrate, hint)
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
    runtime: RuntimeOption = None,
    calibrate: CalibrateOption = None,
    out: OutOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Show what the network finds in the photographs that come with scikit-image."""
    from blitznet.inference.demo import demo_pictures, scene_rows, scene_table
    from blitznet.inference.sources import find_pictures

    own_pictures, problems = find_pictures(sources or [], sys.stdin)
    for problem in problems:
        complain(problem)
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
    print_table(table)
    typer.echo(f"The pictures are in {folder.resolve()}")
    if problems or num_read < len(pictures):
        raise typer.Exit(1)


def _show_part(part: "Part", files: "ResultFiles") -> tuple[int, int]:
    """Go through one part of a run; returns how many pictures or videos could be read, of all."""
    from blitznet.inference.run import describe
    from blitznet.inference.video.run_video import describe_video

    num_read = num_wrong = 0
    with closing(part.results) as results:
        for source, result in with_progress(results, part.total, part.what, part.is_video):
            if isinstance(result, PictureError):
                complain(result)
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
                complain(result)
            else:
                yield path, result


def _load(
    model: str | None,
    device: str,
    runtime: str | None,
    calibrate: Path | None,
    hint: "Hint",
) -> "Predictor":
    """A network on its runtime; says which one, if that was ours to choose."""
    from blitznet.inference.engines.choose import AUTO, usual_runtime
    from blitznet.inference.predictor import load

    chosen = runtime or usual_runtime(model)
    predictor = load(model, device, chosen, hint=hint, calibrate=calibrate, tell=complain)
    if chosen == AUTO:
        typer.echo(f"blitznet: runs on {predictor.runtime.name} ({predictor.device})", err=True)
    return predictor
