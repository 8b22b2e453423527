"""blitznet predict, blitznet demo."""

import sys
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from blitznet.cli import options
from blitznet.cli.app import app, print_error, print_line
from blitznet.errors import count_of
from blitznet.files.result_folder import make_folder, require_usable

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from blitznet.inference.engines.openvino_engine import Hint
    from blitznet.inference.predict_folder import Result
    from blitznet.inference.predictor import Predictor
    from blitznet.inference.sources import Source


@app.command()
def predict(
    sources: list[str] = typer.Argument(
        metavar="SOURCE",
        help="Images, videos, folders, patterns such as 'trip/**/*.jpg', a camera's number, "
        "a stream's URL, or - for an image or a list on stdin.",
    ),
    model: str | None = options.MODEL,
    score: float = options.SCORE,
    classes: str | None = typer.Option(
        None,
        metavar="NAME,...",
        help="Show only these classes; pixels of others become background.",
        show_default="all",
    ),
    iou: float | None = typer.Option(
        None, min=0, max=1, help="Maximum IoU of two objects of a class.", show_default="0.45"
    ),
    max_detections: int | None = typer.Option(
        None, min=1, help="Maximum objects per image.", show_default="200"
    ),
    device: str = options.DEVICE,
    engine: str | None = options.ENGINE,
    batch: int | None = options.BATCH,
    out: Path | None = options.OUT,
    overwrite: bool = options.OVERWRITE,
    resume: bool = typer.Option(False, "--resume", help="Skip sources that have results in DIR."),
    mixed: bool = typer.Option(
        False, "--mixed", help="Resume even if the model or a setting has changed."
    ),
    save_masks: bool = typer.Option(
        False, "--save-masks", help="Also write masks/NAME.png with the class ids."
    ),
    no_draw: bool = typer.Option(
        False, "--no-draw", help="Do not write annotated images and videos."
    ),
    label_formats: list[str] | None = typer.Option(
        None,
        "--format",
        metavar="coco|voc|yolo",
        help="Also write labels/FORMAT for labelling tools; several separated by commas.",
    ),
    track: bool = typer.Option(
        False, "--track", help="Track objects across video frames, with an id each."
    ),
    max_megapixels: float = typer.Option(
        100, min=0.1, help="Refuse larger images before decoding them."
    ),
    every: int = typer.Option(1, min=1, metavar="N", help="Predict every N-th frame of a video."),
    max_frames: int | None = typer.Option(
        None, min=1, help="Stop after N frames of a video.", show_default="all"
    ),
    reconnect: int = typer.Option(5, min=0, help="Reconnection attempts for a camera or stream."),
    watch: bool = typer.Option(
        False, "--watch", help="Also wait for images that arrive in the folder."
    ),
    idle_seconds: float | None = typer.Option(
        None, min=0, help="End --watch after N seconds without a new image.", show_default="never"
    ),
    quiet: bool = options.QUIET,
) -> None:
    """Detect objects and segment classes in images and videos.

    Writes NAME.jpg or NAME.mp4 with boxes and segmentation map for each, and predictions.jsonl.
    Ctrl-C keeps finished results; run the same command with --out DIR --resume to continue.
    """
    from blitznet.inference.sources import find_given

    stdin = getattr(sys.stdin, "buffer", None)  # None if it is closed
    found, problems = find_given(sources, watch, idle_seconds, stdin)
    for problem in problems:
        print_error(problem)
    if not found:
        raise typer.Exit(1)
    from blitznet.inference.predict_folder import predict_to_folder
    from blitznet.inference.sources import check_sources, has_many_images
    from blitznet.inference.video.predict_frames import VideoOptions
    from blitznet.inference.writers.label_formats import check_label_formats, parse_label_formats

    formats, wanted = parse_label_formats(label_formats or ()), options.split_names(classes)
    check_sources(found, bool(formats), track)
    if resume and out is None:
        raise typer.BadParameter("--resume continues earlier results; name their folder with --out")
    require_usable(out, overwrite or resume)
    predictor = _load(model, device, engine, has_many_images(found), wanted)
    predictor.max_pixels = round(max_megapixels * 10**6)
    check_label_formats(formats, predictor.detects, predictor.segments)
    folder = make_folder(out, Path("runs/predict"), overwrite or resume)
    if not quiet:
        _say_engine(predictor, engine)
    results = predict_to_folder(
        predictor, found, folder, score=score, classes=wanted, iou=iou,
        max_detections=max_detections, batch=batch, draw=not no_draw, save_masks=save_masks,
        formats=formats, video=VideoOptions(every, max_frames, track, reconnect), resume=resume,
        mixed=mixed, show_progress=not quiet,
    )  # fmt: skip
    _report(results, found, folder, problems, quiet)


@app.command()
def demo(
    model: str | None = options.MODEL,
    score: float = options.SCORE,
    device: str = options.DEVICE,
    engine: str | None = options.ENGINE,
    out: Path | None = options.OUT,
    overwrite: bool = options.OVERWRITE,
) -> None:
    """Run detection and segmentation on sample photos; scikit-image adds more."""
    from blitznet.inference.demo import demo_images
    from blitznet.inference.predict_folder import predict_to_folder

    photos = demo_images()
    require_usable(out, overwrite)
    predictor = _load(model, device, engine, has_many_images=True)
    folder = make_folder(out, Path("runs/demo"), overwrite)
    _say_engine(predictor, engine)
    results = predict_to_folder(predictor, photos, folder, score=score, show_progress=True)
    _report(results, photos, folder.resolve(), [])


def _report(
    results: "Iterable[Result]",
    found: "Iterable[Source]",
    folder: Path,
    problems: list[str],
    quiet: bool = False,
) -> None:
    """Print a line per result and a last line such as `2 of 3 images done, 1 failed`.

    The last line is printed even if an error ends the run. Exits with 1 if any image failed.
    """
    from blitznet.inference.sources import kind_of
    from blitznet.interruption import ignore_interruption, terminated_as_interrupted

    total = Counter(filter(None, map(kind_of, dict.fromkeys(found))))
    done, before, failed = Counter[str](), 0, 0

    def counts() -> str:
        text = " and ".join(f"{done[kind]} of {total[kind]} {kind}" for kind in total)
        old = f" ({before} before)" if before else ""
        bad = f", {failed} failed" if failed else ""
        unusable = f", {count_of(len(problems), 'source')} unusable" if problems else ""
        return f"{text or 'no images'} done{old}{bad}{unusable}"

    try:
        with terminated_as_interrupted() as received:
            for result in results:
                if received:
                    raise KeyboardInterrupt
                kind = kind_of(result.source) or "images"
                done[kind] += result.error is None
                before += result.is_old
                if result.error is not None:
                    failed += 1
                    print_error(result)
                elif not quiet and not result.is_old:
                    print_line(result)
                if result.note is not None:
                    print_error(result.note)
                total[kind] = max(total[kind], done[kind] + failed)  # grows in a watched folder
                del result  # free it before the next image is decoded
            if received:
                raise KeyboardInterrupt
            ignore_interruption()
            if not quiet:
                print_line(f"{counts()}, results in {folder}")
    except BaseException as end:
        if done or isinstance(end, KeyboardInterrupt):
            hint = f"continue with --out {folder} --resume"
            print_error(f"stopped: {counts()}, results in {folder}; {hint}")
        raise
    if problems or failed:
        raise typer.Exit(1)


def _load(
    model: str | None,
    device: str,
    engine: str | None,
    has_many_images: bool,
    classes: "Sequence[str] | None" = None,
) -> "Predictor":
    """Find mistakes before loading anything heavy, then load the network."""
    network = options.require_network(model, engine, device)
    from blitznet.inference.predictor import load
    from blitznet.inference.selection import find_class
    from blitznet.model_files import read_info

    if classes and network.checkpoint is not None:
        names = read_info(network.checkpoint).names
        for name in classes:
            find_class(name, names)
    hint: Hint = "throughput" if has_many_images else "latency"
    return load(model, device, engine, hint=hint, on_message=print_error)


def _say_engine(predictor: "Predictor", asked: str | None) -> None:
    """Print which engine runs, if it was chosen automatically."""
    from blitznet.inference.engines.choose import AUTO, usual_engine

    if usual_engine(asked) == AUTO:
        print_error(f"runs on {predictor.engine.name} ({predictor.engine.device})")
