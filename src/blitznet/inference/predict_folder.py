"""Images and videos in, a folder of results out: what `blitznet predict` does."""

import errno
from collections.abc import Callable, Generator, Iterable, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, replace
from functools import partial
from itertools import groupby
from pathlib import Path
from time import monotonic, perf_counter
from typing import Any

from PIL import Image

from blitznet.atomic_write import atomic_write
from blitznet.classes import palette_image
from blitznet.errors import ImageError, InputError
from blitznet.image import EncodedImage
from blitznet.inference.interrupted_run import (
    PREDICTIONS_FILE,
    Finished,
    open_results,
    write_videos,
)
from blitznet.inference.line_file import append_lines
from blitznet.inference.predictor import Predictor, weight_of
from blitznet.inference.prefetch import prefetch, prefetch_items
from blitznet.inference.result_names import ResultNames
from blitznet.inference.selection import DEFAULT_SCORE, Selection, Selector
from blitznet.inference.sources import Source, Video, WatchedFolder, file_of
from blitznet.inference.video.decoding import Frame, OpenedVideo
from blitznet.inference.video.live_video import STOPPED, LiveVideo
from blitznet.inference.video.open_video import open_video
from blitznet.inference.video.predict_frames import VideoOptions, predict_frames
from blitznet.inference.video.video_writer import video_writer
from blitznet.inference.watch_folder import watch_folder
from blitznet.inference.writers import AddScene
from blitznet.inference.writers.label_formats import open_label_files
from blitznet.inference.writers.voc_writer import MAPS_FOLDER
from blitznet.interruption import deferred_interruption
from blitznet.progress import with_progress
from blitznet.result_folder import ensure_folder
from blitznet.scene import Scene

MASKS_FOLDER = "masks"
LABELS_FOLDER = "labels"

# Threads that draw, and drawn frames that may wait for the encoder.
_DRAWERS = 2
_DRAWN_AHEAD = 2
# libjpeg's limit (JPEG_MAX_DIMENSION); longer images are drawn as PNG.
_MAX_JPEG_SIDE = 65500
# These end a run; after any other error the next image is next.
_DISK_ERRORS = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS})


@dataclass(frozen=True, eq=False)
class Result:
    """What became of one image or video.

    Attributes:
        source: as given; of a watched folder the path of one of its images.
        record: of an image its line of `predictions.jsonl`, of a video its entry of
            `videos.json`; None if it could not be read or written.
        drawn: the image or video with boxes and segmentation map; None if there is none.
        scene: of an image its prediction; `scene.image` is the drawn one if one was asked for.
        error: what was wrong with it.
        is_old: whether an earlier run has done it, see `resume`; then there is nothing else here.
    """

    source: Source
    record: dict[str, Any] | None = None
    drawn: Path | None = None
    scene: Scene | None = None
    error: InputError | None = None
    is_old: bool = False

    def __str__(self) -> str:
        """One line: `a.jpg: 2 x person, 1 x dog; pixels 31% person, 12% dog`, or the error."""
        if self.is_old:
            return f"{file_of(self.source)}: done before"
        if self.record is None:
            return str(self.error)
        found = describe_video(self.record) if self.scene is None else self.scene.summary()
        return f"{self.record['source']}: {found}"

    @property
    def note(self) -> str | None:
        """What the user would not expect: `a.gif: the first of 12 frames was read`."""
        frames = 1 if self.scene is None else self.scene.image.info.get("frames", 1)
        if self.record is None or frames == 1:
            return None
        return f"{self.record['source']}: the first of {frames} frames or pages was read"


def predict_to_folder(
    predictor: Predictor,
    sources: Sequence[Source],
    folder: Path,
    *,
    score: float = DEFAULT_SCORE,
    classes: Sequence[str] | None = None,
    iou: float | None = None,
    max_detections: int | None = None,
    batch: int | None = None,
    draw: bool = True,
    save_masks: bool = False,
    formats: Sequence[str] = (),
    video: VideoOptions | None = None,
    resume: bool = False,
    mixed: bool = False,
    show_progress: bool = False,
) -> Generator[Result]:
    """Predict images and videos in their order, and write each result before it is given out.

    Results are named as their sources, in the same folders. `predictions.jsonl` grows by a line for
    every image and frame, and whatever ends the run leaves it valid; every other file appears
    complete or not at all. Ctrl-C and SIGTERM are the way to end a live source or a watched folder;
    anywhere else Ctrl-C breaks the run off. One source that cannot be read or written never ends
    the run.

    Args:
        predictor: a loaded network.
        sources: as of `find_sources`.
        folder: exists; files of the same names are replaced, except the inputs themselves.
        score: as of `Predictor.predict`.
        classes: see there.
        iou: see there.
        max_detections: see there.
        batch: images per forward pass; None = what suits the device.
        draw: whether to write NAME.jpg or NAME.mp4 with boxes and segmentation map.
        save_masks: whether to write masks/NAME.png, class ids with the VOC palette.
        formats: label formats, see `parse_label_formats`; written to labels/FORMAT.
        video: how videos are read; None = the default way.
        resume: whether to leave out what `folder` has results of.
        mixed: whether these may have been made with another network or other settings.
        show_progress: whether to show a progress bar on a terminal.

    Yields:
        A result for each source, in order; for a watched folder one for each image.

    Raises:
        InputError: if the disk is full, a watched folder is to take the results, the network has
            no class of a name, or the run to resume was another one.
    """
    selection, video = Selection(score, classes, iou, max_detections), video or VideoOptions()
    Selector(predictor.info, selection)
    outputs = {"draw": draw, "save_masks": save_masks, "formats": list(formats)}
    settings = vars(selection) | outputs | vars(replace(video, attempts=0))
    sources = list(dict.fromkeys(sources))
    finished = open_results(folder, predictor.info, settings, resume, mixed)
    names = _names(sources, folder, finished)
    images = [(source, _name(source, names, finished)) for source in sources if _is_image(source)]
    done = [
        (name, names.path_of(file_of(source)).as_posix())
        for source, name in images
        if str(file_of(source)) in finished.images
    ]
    labels = open_label_files(folder / LABELS_FOLDER, formats, predictor.names, done)
    with append_lines(folder / PREDICTIONS_FILE) as append, labels as add_labels:
        run = _Run(
            predictor, folder, selection, batch, draw, save_masks, video, show_progress, names,
            append, add_labels, finished,
        )  # fmt: skip
        yield from run.predict(sources, dict(images))


def describe_video(record: dict[str, Any]) -> str:
    """One line: `250 frames, 2 broken ones skipped; 31.2 frames per second`."""
    parts = [f"{record['frames']} frames"]
    if record["skipped"]:
        parts.append(f"{record['skipped']} broken ones skipped")
    if record["live"]:
        parts.append(f"{record['dropped']} dropped")
        parts.append(f"{record['reconnects']} times reconnected")
    text = f"{', '.join(parts)}; {record['frames_per_second']:.1f} frames per second"
    return text if record["ended"] == "end" else f"{text}; {record['ended']}"


@dataclass(eq=False)
class _Run:
    """The arguments of `predict_to_folder` and what all of its sources share.

    Attributes:
        names: gives out names of results.
        append: writes a line of `predictions.jsonl`.
        add_labels: see `open_label_files`.
        finished: what is left out, and the videos that are done.
    """

    predictor: Predictor
    folder: Path
    selection: Selection
    batch: int | None
    draw: bool
    save_masks: bool
    video: VideoOptions
    show_progress: bool
    names: ResultNames
    append: Callable[[dict[str, Any]], None]
    add_labels: AddScene
    finished: Finished

    def predict(self, sources: Iterable[Source], names: dict[Source, str]) -> Generator[Result]:
        """`names` are those of images."""
        for is_image, group in groupby(sources, _is_image):
            if is_image:
                images = []
                for source in group:
                    if str(file_of(source)) in self.finished.images:
                        yield Result(source, is_old=True)
                    else:
                        images.append((source, names[source]))
                results = self._predict_images(images)
                yield from with_progress(results, len(images), "images", self.show_progress)
                continue
            for source in group:
                if isinstance(source, WatchedFolder):
                    results = self._watch(source)
                    yield from with_progress(results, None, "images", self.show_progress)
                elif isinstance(source, Video) and source.name in self.finished.recordings:
                    yield Result(source, is_old=True)
                elif isinstance(source, Video):
                    result = self._predict_video(source)
                    yield result
                    if result.record is not None and result.record["ended"] == STOPPED:
                        return

    def _predict_images(self, images: Sequence[tuple[Source, str]]) -> Generator[Result]:
        sources = (source for source, _ in images)
        scenes = self.predictor.predict_stream(sources, batch=self.batch, **vars(self.selection))
        named = ((*image, scene) for image, (_, scene) in zip(images, scenes, strict=True))
        for name, result in prefetch(self._save_image, named, _DRAWERS, weigh=_weigh):
            yield self._record(result, name)
            del result  # not kept while the next one is decoded

    def _save_image(self, item: tuple[Source, str, Scene | ImageError]) -> tuple[str, Result]:
        """Called in threads."""
        source, name, scene = item
        if isinstance(scene, ImageError):
            return name, Result(source, error=scene)
        start = perf_counter()
        try:
            record = scene.to_dict()
            if self.draw:
                suffix = "png" if max(scene.size) > _MAX_JPEG_SIDE else "jpg"
                record["drawn"] = f"{name}.{suffix}"
                image = scene.draw(in_place=True)  # the copy of a huge image is huge, too
                self._save(image, record["drawn"], quality=92, subsampling=0)
            self._save_mask(record, scene, name)
        except Exception as error:  # noqa: BLE001 - see `_problem`
            return name, Result(source, error=_problem(source, error))
        record["ms"] = _rounded_times(scene, start)
        drawn = self.folder / record["drawn"] if self.draw else None
        return name, Result(source, record, drawn, scene)

    def _record(self, result: Result, name: str) -> Result:
        """Add labels, and then the line, which says that all is done."""
        if result.scene is None or result.record is None:
            return result
        try:
            path = self.names.path_of(file_of(result.source)).as_posix()
            self.add_labels(result.scene, name, path)
        except Exception as error:  # noqa: BLE001 - see `_problem`
            return Result(result.source, error=_problem(result.source, error))
        self.append(result.record)
        return result

    def _watch(self, source: WatchedFolder) -> Generator[Result]:
        """Images one by one: none waits for the next."""
        if source.folder.resolve() == self.folder.resolve():
            raise InputError(
                f"{source.folder}: a watched folder cannot take the results; name another --out"
            )
        with deferred_interruption() as received:
            for path in watch_folder(source.folder, source.idle_seconds, lambda: bool(received)):
                if str(path) not in self.finished.images:
                    yield from self._predict_images([(path, self.names.of(path))])

    def _predict_video(self, source: Video) -> Result:
        try:
            with closing(open_video(source.name, self.video.attempts)) as video:
                return self._predict_opened(source, video)
        except Exception as error:  # noqa: BLE001 - see `_problem`
            return Result(source, error=_problem(source, error))

    def _predict_opened(self, source: Video, video: OpenedVideo) -> Result:
        """Write NAME.mp4 without audio; decoding, network, drawing and encoding run in parallel."""
        name = self.names.of(file_of(source) if source.is_file else Path(video.stem))
        drawn = self.folder / f"{name}.mp4" if self.draw else None
        finish = partial(self._finish_frame, video.name, name)
        total = self.video.expected_frames(video)
        num_frames, last_time, start = 0, 0.0, monotonic()
        with ExitStack() as stack:
            if isinstance(
                video, LiveVideo
            ):  # Ctrl-C and SIGTERM end it; a recording is interrupted
                received = stack.enter_context(deferred_interruption())
                video.should_stop = lambda: bool(received)
            frames = predict_frames(self.predictor, video, self.selection, self.batch, self.video)
            stack.enter_context(closing(frames))
            finished = prefetch_items(prefetch(finish, frames, _DRAWERS), _DRAWN_AHEAD)
            stack.enter_context(closing(finished))
            shown = with_progress(finished, total, video.name, self.show_progress, True)
            write: Callable[[Image.Image, int], None] | None = None
            for frame, image, record in stack.enter_context(closing(shown)):
                if drawn is not None and image is not None:
                    if write is None:
                        ensure_folder(drawn.parent)
                        rate = video.rate / self.video.every
                        writer = video_writer(drawn, frame, rate, video.pixel_shape, video.is_live)
                        write = stack.enter_context(writer)
                    write(image, frame.pts)
                self.append(record)
                num_frames, last_time = num_frames + 1, frame.time
        if num_frames == 0 and not video.is_live:
            raise ImageError(f"{video.name}: none of its frames can be read")
        drawn = drawn if num_frames else None
        drawn_name = f"{name}.mp4" if drawn else None
        record = _video_record(video, drawn_name, num_frames, last_time, start)
        self.finished.videos.append(record)
        write_videos(self.folder, self.finished.videos)
        return Result(source, record, drawn)

    def _finish_frame(
        self, source: str, name: str, item: tuple[Frame, Scene]
    ) -> tuple[Frame, Image.Image | None, dict[str, Any]]:
        """Called in threads."""
        frame, scene = item
        start = perf_counter()
        image = scene.draw() if self.draw else None
        record = {"source": source, "frame": frame.index, "time": round(frame.time, 6)}
        record |= {key: value for key, value in scene.to_dict().items() if key != "source"}
        record["drawn"] = f"{name}.mp4" if self.draw else None
        self._save_mask(record, scene, f"{name}/{frame.index:06}")
        record["ms"] = _rounded_times(scene, start)
        return frame, image, record

    def _save_mask(self, record: dict[str, Any], scene: Scene, name: str) -> None:
        """Write masks/NAME.png where masks are wanted, and put its path into the record."""
        if self.save_masks and scene.seg_map is not None:
            record["seg_map"] = f"{MASKS_FOLDER}/{name}.png"
            self._save(palette_image(scene.seg_map), record["seg_map"])

    def _save(self, image: Image.Image, name: str, **options: int) -> None:
        path = self.folder / name
        ensure_folder(path.parent)
        with atomic_write(path, sync=False) as temporary:
            image_format = "JPEG" if path.suffix == ".jpg" else "PNG"
            image.save(temporary, format=image_format, **options)


def _weigh(item: tuple[Source, str, Scene | ImageError]) -> float:
    """See `prefetch`."""
    return weight_of(item[2].size) if isinstance(item[2], Scene) else 0.0


def _is_image(source: Source) -> bool:
    return isinstance(source, Path | EncodedImage)


def _names(sources: Sequence[Source], folder: Path, finished: Finished) -> ResultNames:
    inputs = [file_of(one) for one in sources if not isinstance(one, Video) or one.is_file]
    maps = folder / LABELS_FOLDER / "voc" / MAPS_FOLDER
    return ResultNames(inputs, (folder, folder / MASKS_FOLDER, maps), finished.names)


def _name(image: Source, names: ResultNames, finished: Finished) -> str:
    """The name that it has got, or a new one."""
    return finished.images.get(str(file_of(image))) or names.of(file_of(image))


def _problem(source: Source, error: Exception) -> InputError:
    """What is wrong with one source, in one line.

    Raises:
        InputError: the error itself, if it is one after which nothing can be written.
    """
    if any(getattr(one, "errno", None) in _DISK_ERRORS for one in (error, error.__cause__)):
        raise error
    if isinstance(error, InputError):
        return error
    text = " ".join(str(error).split())[:200]
    return InputError(f"{file_of(source)}: {type(error).__name__}: {text}")


def _video_record(
    video: OpenedVideo, drawn: str | None, frames: int, last_time: float, start: float
) -> dict[str, Any]:
    return {
        "source": video.name,
        "drawn": drawn,
        "live": video.is_live,
        "frames": frames,
        "skipped": video.skipped,
        "dropped": video.dropped,
        "reconnects": video.reconnects,
        "last_time": round(last_time, 6),
        "frames_per_second": round(frames / (monotonic() - start), 2),
        "ended": video.reason,
    }


def _rounded_times(scene: Scene, write_start: float) -> dict[str, float]:
    """Milliseconds of every stage; writing began at `write_start`, of `perf_counter`."""
    times = scene.milliseconds | {"write": (perf_counter() - write_start) * 1000}
    return {stage: round(time, 2) for stage, time in times.items()}
