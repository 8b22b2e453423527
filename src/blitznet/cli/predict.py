"""blitznet predict, blitznet demo."""

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from blitznet.cli.app import app, complain, complain_of, say
from blitznet.cli.options import (
    BatchOption,
    CalibrateOption,
    DeviceOption,
    EngineOption,
    ModelOption,
    OutOption,
    OverwriteOption,
    ScoreOption,
)
from blitznet.result_folder import make_folder

if TYPE_CHECKING:
    from collections.abc import Iterable

    from blitznet.inference.engines.openvino_engine import Hint
    from blitznet.inference.predict_folder import Result
    from blitznet.inference.predictor import Predictor


@app.command()
def predict(
    sources: Annotated[
        list[str],
        typer.Argument(
            metavar="SOURCE",
            help="Images, videos, folders, patterns such as 'trip/**/*.jpg', a camera's number, "
            "a stream's URL, or - for a list on stdin.",
        ),
    ],
    model: ModelOption = None,
    score: ScoreOption = 0.5,
    device: DeviceOption = "auto",
    engine: EngineOption = None,
    calibrate: CalibrateOption = None,
    batch: BatchOption = None,
    out: OutOption = None,
    overwrite: OverwriteOption = False,
    save_masks: Annotated[
        bool, typer.Option("--save-masks", help="Also write masks/NAME.png with the class ids.")
    ] = False,
    no_draw: Annotated[
        bool, typer.Option("--no-draw", help="Do not write annotated images and videos.")
    ] = False,
    label_formats: Annotated[
        list[str] | None,
        typer.Option(
            "--format",
            metavar="coco|voc|yolo",
            help="Also write labels/FORMAT for labelling tools; several separated by commas.",
        ),
    ] = None,
    track: Annotated[
        bool, typer.Option("--track", help="Track objects across video frames, with an id each.")
    ] = False,
    max_megapixels: Annotated[
        float, typer.Option(min=0.1, help="Refuse larger images before decoding them.")
    ] = 100,
    every: Annotated[
        int, typer.Option(min=1, metavar="N", help="Every N-th frame of a video.")
    ] = 1,
    max_frames: Annotated[
        int | None, typer.Option(min=1, help="Stop after N frames of a video.", show_default="all")
    ] = None,
    reconnect: Annotated[
        int, typer.Option(min=0, help="Reconnection attempts for a camera or stream.")
    ] = 5,
    watch: Annotated[
        bool, typer.Option("--watch", help="Also wait for images that arrive in the folder.")
    ] = False,
    idle_seconds: Annotated[
        float | None,
        typer.Option(
            min=0, help="End --watch after N seconds without a new image.", show_default="never"
        ),
    ] = None,
) -> None:
    """Detect objects and segment classes in images and videos.

    Writes NAME.jpg or NAME.mp4 with boxes and segmentation map for each, and predictions.jsonl.
    """
    from blitznet.inference.sources import find_sources, find_watched_folder

    found, problems = find_sources([] if watch else sources, sys.stdin)
    if watch:
        found.append(find_watched_folder(sources, idle_seconds))
    complain_of(problems)
    if not found:
        raise typer.Exit(1)

    from blitznet.inference.predict_folder import predict_to_folder
    from blitznet.inference.sources import check_sources, has_many_images
    from blitznet.inference.video.predict_frames import VideoOptions
    from blitznet.inference.writers.label_formats import choose_label_formats

    check_sources(found, bool(label_formats), track)
    predictor = _load(model, device, engine, calibrate, has_many_images(found))
    predictor.max_pixels = round(max_megapixels * 10**6)
    network = predictor.info.model
    formats = choose_label_formats(label_formats or (), network.detect, network.segment)
    folder = make_folder(out, Path("runs/predict"), overwrite)
    _say_engine(predictor, engine)
    results = predict_to_folder(
        predictor, found, folder, score=score, batch=batch, draw=not no_draw, formats=formats,
        save_masks=save_masks, video=VideoOptions(every, max_frames, track, reconnect),
        show_progress=True,
    )  # fmt: skip
    _report(results, folder, problems)


@app.command()
def demo(
    sources: Annotated[
        list[str] | None,
        typer.Argument(metavar="[SOURCE]", help="Your own images and videos, in addition."),
    ] = None,
    model: ModelOption = None,
    score: ScoreOption = 0.5,
    device: DeviceOption = "auto",
    engine: EngineOption = None,
    calibrate: CalibrateOption = None,
    out: OutOption = None,
    overwrite: OverwriteOption = False,
) -> None:
    """Run detection and segmentation on the sample photos that come with scikit-image."""
    from blitznet.inference.demo import demo_pictures
    from blitznet.inference.sources import find_sources

    own, problems = find_sources(sources or [], sys.stdin)
    complain_of(problems)
    found = [*demo_pictures(), *own]

    from blitznet.inference.predict_folder import predict_to_folder

    predictor = _load(model, device, engine, calibrate, has_many_images=True)
    folder = make_folder(out, Path("runs/demo"), overwrite)
    _say_engine(predictor, engine)
    results = predict_to_folder(predictor, found, folder, score=score, show_progress=True)
    _report(results, folder.resolve(), problems)


def _report(results: "Iterable[Result]", folder: Path, problems: list[str]) -> None:
    """A line each, then `2 of 3 images and 1 of 1 videos done`; exits with 1 for any problem."""
    from blitznet.inference.sources import Video

    done, total = Counter[str](), Counter[str]()
    for result in results:
        kind = "videos" if isinstance(result.source, Video) else "images"
        total[kind] += 1
        if result.error is None:
            done[kind] += 1
            say(result)
        else:
            complain(result)
        del result  # not kept while the next image is decoded
    counts = " and ".join(f"{done[kind]} of {total[kind]} {kind}" for kind in total)
    say(f"{counts} done, results in {folder}")
    if problems or done != total:
        raise typer.Exit(1)


def _load(
    model: str | None,
    device: str,
    engine: str | None,
    calibrate: Path | None,
    has_many_images: bool,
) -> "Predictor":
    from blitznet.inference.predictor import load

    hint: Hint = "throughput" if has_many_images else "latency"
    return load(model, device, engine, hint=hint, calibrate=calibrate, tell=complain)


def _say_engine(predictor: "Predictor", asked: str | None) -> None:
    """Says which engine runs, if that was ours to choose."""
    from blitznet.inference.engines.choose import AUTO, usual_engine

    if (asked or usual_engine()) == AUTO:
        complain(f"runs on {predictor.engine.name} ({predictor.engine.device})")
