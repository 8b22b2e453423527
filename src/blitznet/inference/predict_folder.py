"""Predict images and videos to a folder of results, as `blitznet predict` does."""

import errno
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import replace
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Unpack

from blitznet.errors import ImageError, InputError, one_line
from blitznet.inference.line_file import Record
from blitznet.inference.predictor import Predictor, weight_of
from blitznet.inference.prefetch import prefetch
from blitznet.inference.result import Result
from blitznet.inference.result_writer import Outputs, ResultWriter, open_result_writer
from blitznet.inference.selection import DEFAULT_SCORE, Selector, Wanted, select
from blitznet.inference.sources import Source, Video, WatchedFolder, file_of, kind_of
from blitznet.inference.video.live_video import STOPPED
from blitznet.inference.video.predict_frames import VideoOptions, predict_frames
from blitznet.inference.video.predict_video import DRAWERS, predict_to_video
from blitznet.inference.watch_folder import watch_folder
from blitznet.interruption import deferred_interruption
from blitznet.progress import with_progress
from blitznet.scene import Scene

# Errors that abort the run; after any other error, the next image is processed.
_DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})

Predicted = Iterator[tuple[Source, Scene | ImageError]]


def predict_to_folder(
    predictor: Predictor,
    sources: Sequence[Source],
    folder: Path,
    *,
    score: float = DEFAULT_SCORE,
    batch: int | None = None,
    draw: bool = True,
    save_masks: bool = False,
    formats: Sequence[str] = (),
    video: VideoOptions | None = None,
    resume: bool = False,
    mixed: bool = False,
    show_progress: bool = False,
    **wanted: Unpack[Wanted],
) -> Generator[Result]:
    """Predict images and videos in order, and write each result before yielding it.

    Results are named after their sources, in the same folders. Every image and frame adds a line to
    `predictions.jsonl`, which stays valid however the run ends; all other files are written
    atomically. Ctrl-C and SIGTERM end a live source or a watched folder normally; in other cases,
    Ctrl-C interrupts the run. A source that cannot be read or written does not end the run.

    Args:
        predictor: a loaded network.
        sources: sources from `find_sources`.
        folder: an existing folder; files of the same names are replaced, except the inputs.
        score: see `Predictor.predict`.
        batch: images per forward pass; None = the default for the device.
        draw: whether to write NAME.jpg or NAME.mp4 with boxes and segmentation map.
        save_masks: whether to write masks/NAME.png, class ids with the VOC palette.
        formats: label formats, see `parse_label_formats`; written to labels/FORMAT.
        video: how to read videos; None = the defaults.
        resume: whether to skip sources that `folder` has results for.
        mixed: whether to resume even if the network or the settings have changed.
        show_progress: whether to show a progress bar on a terminal.
        wanted: `classes`, `iou` and `max_detections` of `Predictor.predict`.

    Yields:
        A result per source, in order; for a watched folder, one per image.

    Raises:
        InputError: if the disk is full, a watched folder is also the output folder, the network
            lacks a class, or the run to resume had another network or other settings.
    """
    selection, video = select(score, wanted), video or VideoOptions()
    Selector(predictor.info, selection)  # raises if the network lacks a wanted class
    outputs, sources = Outputs(draw, save_masks, tuple(formats)), list(dict.fromkeys(sources))
    settings = vars(selection) | vars(replace(video, attempts=0))
    frames = partial(predict_frames, predictor, selection=selection, batch=batch, options=video)

    def predict(images: Sequence[Source]) -> Predicted:
        return predictor.predict_stream(images, batch=batch, **vars(selection))

    opened = open_result_writer(folder, outputs, sources, predictor.info, settings, resume, mixed)
    with opened as writer:
        kinds = groupby(sources, lambda source: "done" if writer.has(source) else kind_of(source))
        for kind, group in kinds:
            if kind == "images":
                images = list(group)
                results = _predict_images(predict(images), writer)
                yield from with_progress(results, len(images), kind, show_progress)
                continue
            for source in group:
                if kind == "done":
                    yield Result(source, is_old=True)
                elif isinstance(source, WatchedFolder):
                    results = _predict_arriving(source, predict, writer)
                    yield from with_progress(results, None, "images", show_progress)
                elif isinstance(source, Video):
                    run = partial(predict_to_video, source, frames, writer, video, show_progress)
                    result = _predict_video(source, run, writer)
                    yield result
                    if result.record is not None and result.record["ended"] == STOPPED:
                        return


def _predict_images(predicted: Predicted, writer: ResultWriter) -> Generator[Result]:
    """Write predictions for images: drawings and masks in threads, then labels and lines."""

    def write(item: tuple[Source, Scene | ImageError]) -> Result:
        source, scene = item
        if isinstance(scene, ImageError):
            return Result(source, error=scene)
        try:
            record = writer.write_image(source, scene)
        except Exception as error:  # noqa: BLE001 - see `_problem`
            return Result(source, error=_problem(source, error))
        drawn = writer.folder / record["drawn"] if record["drawn"] else None
        return Result(source, record, drawn, scene)

    for result in prefetch(write, predicted, DRAWERS, weigh=_weigh):
        if result.scene is not None and result.record is not None:
            try:
                writer.add_image(result.source, result.scene, result.record)
            except Exception as error:  # noqa: BLE001 - see `_problem`
                yield Result(result.source, error=_problem(result.source, error))
                continue
        yield result
        del result  # free it before the next one is decoded


def _predict_arriving(
    source: WatchedFolder, predict: Callable[[Sequence[Source]], Predicted], writer: ResultWriter
) -> Generator[Result]:
    """Predict images one by one as they arrive, without waiting to fill a batch."""
    if source.folder.resolve() == writer.folder.resolve():
        raise InputError(
            f"{source.folder}: a watched folder cannot take the results; name another --out"
        )
    with deferred_interruption() as received:
        for path in watch_folder(source.folder, source.idle_seconds, lambda: bool(received)):
            if not writer.has(path):
                writer.image_names[path] = writer.names.of(path)
                yield from _predict_images(predict([path]), writer)


def _predict_video(source: Video, run: Callable[[], Record], writer: ResultWriter) -> Result:
    try:
        record = run()
        writer.add_video(record)
    except Exception as error:  # noqa: BLE001 - see `_problem`
        return Result(source, error=_problem(source, error))
    return Result(source, record, writer.folder / record["drawn"] if record["drawn"] else None)


def _weigh(item: tuple[Source, Scene | ImageError]) -> float:
    """See `prefetch`."""
    return weight_of(item[1].size) if isinstance(item[1], Scene) else 0.0


def _problem(source: Source, error: Exception) -> InputError:
    """Make a one-line error for one source.

    Raises:
        InputError: the error itself, if nothing more can be written to the disk.
    """
    if any(getattr(one, "errno", None) in _DISK_ERRORS for one in (error, error.__cause__)):
        raise error
    if isinstance(error, InputError):
        return error
    return InputError(f"{file_of(source)}: {type(error).__name__}: {one_line(error)}")
