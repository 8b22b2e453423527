"""Predict images and videos to a folder of results, as `blitznet predict` does."""

import errno
from collections.abc import Callable, Generator, Iterator, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from pathlib import Path
from typing import Any, Unpack

from blitznet.errors import ImageError, InputError, one_line
from blitznet.inference.predictor import Predictor, weight_of
from blitznet.inference.prefetch import prefetch
from blitznet.inference.result_writer import ResultWriter, open_results
from blitznet.inference.selection import DEFAULT_SCORE, Selection, Selector, Wanted
from blitznet.inference.sources import Source, Video, WatchedFolder, file_of, kind_of
from blitznet.inference.video.live_video import STOPPED
from blitznet.inference.video.predict_frames import VideoOptions
from blitznet.inference.video.predict_video import DRAWERS, predict_to_video
from blitznet.inference.watch_folder import watch_folder
from blitznet.interruption import deferred_interruption
from blitznet.progress import with_progress
from blitznet.scene import Scene

# Errors that abort the run; after any other error, the next image is processed.
_DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})


@dataclass(frozen=True, eq=False)
class Result:
    """Result of one image or video.

    Attributes:
        source: source of the run; for a watched folder, the path of one of its images.
        record: an image's line of `predictions.jsonl`, or a video's entry of `videos.json`; None
            if it could not be read or written.
        drawn: path of the image or video with boxes and segmentation map, or None.
        scene: prediction for an image; `scene.image` is the drawn image if one was written.
        error: why it failed, or None.
        is_old: whether an earlier run has done it, see `resume`; other fields are then empty.
    """

    source: Source
    record: dict[str, Any] | None = None
    drawn: Path | None = None
    scene: Scene | None = None
    error: InputError | None = None
    is_old: bool = False

    def __str__(self) -> str:
        """A line such as `a.jpg: 2 x person, 1 x dog; pixels 31% person`, or the error."""
        if self.is_old:
            return f"{file_of(self.source)}: done before"
        if self.record is None:
            return str(self.error)
        found = _describe_video(self.record) if self.scene is None else self.scene.summary()
        return f"{self.record['source']}: {found}"

    @property
    def note(self) -> str | None:
        """A hint for the user, such as `a.gif: the first of 12 frames or pages was read`."""
        frames = 1 if self.scene is None else self.scene.image.info.get("frames", 1)
        if self.record is None or frames == 1:
            return None
        return f"{self.record['source']}: the first of {frames} frames or pages was read"


def _describe_video(record: dict[str, Any]) -> str:
    """One line: `250 frames, 2 broken ones skipped; 31.2 frames per second`."""
    parts = [f"{record['frames']} frames"]
    if record["skipped"]:
        parts.append(f"{record['skipped']} broken ones skipped")
    if record["live"]:
        parts.append(f"{record['dropped']} dropped")
        parts.append(f"{record['reconnects']} reconnects")
    text = f"{', '.join(parts)}; {record['frames_per_second']:.1f} frames per second"
    return text if record["ended"] == "end" else f"{text}; {record['ended']}"


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
    selection, video = Selection(score, **wanted), video or VideoOptions()
    Selector(predictor.info, selection)  # raises if the network lacks a wanted class
    sources = list(dict.fromkeys(sources))
    settings = vars(selection) | vars(replace(video, attempts=0))
    settings |= {"draw": draw, "save_masks": save_masks, "formats": formats}

    def predict(images: Sequence[Source]) -> Generator[Result]:
        predicted = predictor.predict_stream(images, batch=batch, **vars(selection))
        return _write_images(predicted, writer)

    with open_results(folder, sources, predictor.info, settings, resume, mixed) as writer:
        kinds = groupby(sources, lambda source: "done" if writer.has(source) else kind_of(source))
        for kind, group in kinds:
            if kind == "images":
                images = list(group)
                yield from with_progress(predict(images), len(images), kind, show_progress)
                continue
            for source in group:
                if kind == "done":
                    yield Result(source, is_old=True)
                elif isinstance(source, WatchedFolder):
                    results = _predict_arriving(source, predict, writer)
                    yield from with_progress(results, None, "images", show_progress)
                elif isinstance(source, Video):
                    try:
                        record = predict_to_video(
                            predictor, source, selection, batch, video, writer, show_progress
                        )
                        writer.add_video(record)
                        result = Result(source, record, writer.path_of(record))
                    except Exception as error:  # noqa: BLE001 - see `_failed`
                        result = _failed(source, error)
                    yield result
                    if result.record is not None and result.record["ended"] == STOPPED:
                        return


def _write_images(
    predicted: Iterator[tuple[Source, Scene | ImageError]], writer: ResultWriter
) -> Generator[Result]:
    """Write predictions for images: drawings and masks in threads, then labels and lines."""

    def write(item: tuple[Source, Scene | ImageError]) -> Result:
        source, scene = item
        if isinstance(scene, ImageError):
            return Result(source, error=scene)
        try:
            record = writer.write_image(source, scene)
        except Exception as error:  # noqa: BLE001 - see `_failed`
            return _failed(source, error)
        return Result(source, record, writer.path_of(record), scene)

    for result in prefetch(write, predicted, DRAWERS, weigh=_weigh):
        if result.scene is not None and result.record is not None:
            try:
                writer.add_image(result.source, result.scene, result.record)
            except Exception as error:  # noqa: BLE001 - see `_failed`
                result = _failed(result.source, error)
        yield result
        del result  # free it before the next one is decoded


def _predict_arriving(
    source: WatchedFolder,
    predict: Callable[[Sequence[Source]], Generator[Result]],
    writer: ResultWriter,
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
                yield from predict([path])


def _weigh(item: tuple[Source, Scene | ImageError]) -> float:
    return weight_of(item[1].size) if isinstance(item[1], Scene) else 0.0


def _failed(source: Source, error: Exception) -> Result:
    """Make a result with a one-line error.

    Raises:
        InputError: the error itself, if nothing more can be written to the disk.
    """
    if any(getattr(one, "errno", None) in _DISK_ERRORS for one in (error, error.__cause__)):
        raise error
    if not isinstance(error, InputError):
        error = InputError(f"{file_of(source)}: {type(error).__name__}: {one_line(error)}")
    return Result(source, error=error)
