"""Images and videos in, a folder of results out: what `blitznet predict` does."""

import errno
from collections.abc import Callable, Generator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field, replace
from functools import partial
from itertools import groupby
from pathlib import Path, PurePath
from time import monotonic, perf_counter
from typing import Any, Unpack

from PIL import Image

from blitznet.atomic_write import atomic_write
from blitznet.classes import palette_image
from blitznet.errors import ImageError, InputError, one_line
from blitznet.inference.interrupted_run import (
    PREDICTIONS_FILE,
    VIDEOS_FILE,
    Finished,
    open_results,
)
from blitznet.inference.line_file import append_lines
from blitznet.inference.predictor import Predictor, weight_of
from blitznet.inference.prefetch import prefetch, prefetch_items
from blitznet.inference.result_names import ResultNames
from blitznet.inference.selection import DEFAULT_SCORE, Selection, Selector, Wanted
from blitznet.inference.sources import Source, Video, WatchedFolder, file_of, kind_of
from blitznet.inference.video.decoding import Frame, OpenedVideo
from blitznet.inference.video.live_video import STOPPED, LiveVideo
from blitznet.inference.video.open_video import open_video
from blitznet.inference.video.predict_frames import VideoOptions, predict_frames
from blitznet.inference.video.video_writer import video_writer
from blitznet.inference.watch_folder import watch_folder
from blitznet.inference.writers import Added, AddScene
from blitznet.inference.writers.label_formats import open_label_files
from blitznet.inference.writers.voc_writer import MAPS_FOLDER
from blitznet.interruption import deferred_interruption
from blitznet.progress import with_progress
from blitznet.result_folder import ensure_folder
from blitznet.scene import Scene
from blitznet.text_files import write_json

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
        found = _describe_video(self.record) if self.scene is None else self.scene.summary()
        return f"{self.record['source']}: {found}"

    @property
    def note(self) -> str | None:
        """What the user would not expect: `a.gif: the first of 12 frames was read`."""
        frames = 1 if self.scene is None else self.scene.image.info.get("frames", 1)
        if self.record is None or frames == 1:
            return None
        return f"{self.record['source']}: the first of {frames} frames or pages was read"


def _describe_video(record: dict[str, Any]) -> str:
    """One line: `250 frames, 2 broken ones skipped; 31.2 frames a second`."""
    parts = [f"{record['frames']} frames"]
    if record["skipped"]:
        parts.append(f"{record['skipped']} broken ones skipped")
    if record["live"]:
        parts.append(f"{record['dropped']} dropped")
        parts.append(f"{record['reconnects']} times reconnected")
    text = f"{', '.join(parts)}; {record['frames_per_second']:.1f} frames a second"
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
        batch: images per forward pass; None = what suits the device.
        draw: whether to write NAME.jpg or NAME.mp4 with boxes and segmentation map.
        save_masks: whether to write masks/NAME.png, class ids with the VOC palette.
        formats: label formats, see `parse_label_formats`; written to labels/FORMAT.
        video: how videos are read; None = the default way.
        resume: whether to leave out what `folder` has results of.
        mixed: whether these may have been made with another network or other settings.
        show_progress: whether to show a progress bar on a terminal.
        wanted: `classes`, `iou` and `max_detections` of `Predictor.predict`.

    Yields:
        A result for each source, in order; for a watched folder one for each image.

    Raises:
        InputError: if the disk is full, a watched folder is to take the results, the network has
            no class of a name, or the run to resume was another one.
    """
    selection, video = Selection(score, **wanted), video or VideoOptions()
    Selector(predictor.info, selection)  # raises if the network lacks a wanted class
    outputs = {"draw": draw, "save_masks": save_masks, "formats": list(formats)}
    settings = vars(selection) | outputs | vars(replace(video, attempts=0))
    finished = open_results(folder, predictor.info, settings, resume, mixed)
    run = _Run(
        predictor, folder, finished, selection, batch, draw, save_masks, video, show_progress
    )
    yield from run.predict(list(dict.fromkeys(sources)), formats)


@dataclass(eq=False)
class _Run:
    """The arguments of `predict_to_folder` and what all of its sources share.

    Attributes:
        finished: what is left out, and the videos that are done.
        namer: gives out names of results.
        names: of images' results.
        append: writes a line of `predictions.jsonl`.
        add_labels: see `open_label_files`.
    """

    predictor: Predictor
    folder: Path
    finished: Finished
    selection: Selection
    batch: int | None
    draw: bool
    save_masks: bool
    video: VideoOptions
    show_progress: bool
    namer: ResultNames = field(init=False)
    names: dict[Source, str] = field(init=False)
    append: Callable[[dict[str, Any]], None] = field(init=False)
    add_labels: AddScene = field(init=False)

    def predict(self, sources: Sequence[Source], formats: Sequence[str]) -> Generator[Result]:
        """See `predict_to_folder`."""
        done = self._name(sources)
        labels = open_label_files(self.folder / LABELS_FOLDER, formats, self.predictor.names, done)
        lines = append_lines(self.folder / PREDICTIONS_FILE)
        with lines as self.append, labels as self.add_labels:
            for kind, group in groupby(sources, self._kind):
                if kind == "images":
                    images = list(group)
                    results = self._predict_images(images)
                    yield from with_progress(results, len(images), kind, self.show_progress)
                    continue
                for source in group:
                    if kind == "done":
                        yield Result(source, is_old=True)
                    elif isinstance(source, WatchedFolder):
                        results = self._watch(source)
                        yield from with_progress(results, None, "images", self.show_progress)
                    elif isinstance(source, Video):
                        result = self._predict_video(source)
                        yield result
                        if result.record is not None and result.record["ended"] == STOPPED:
                            return

    def _name(self, sources: Sequence[Source]) -> list[Added]:
        """Name the images' results; gives the names and paths of those that are done."""
        inputs = [file_of(one) for one in sources if not isinstance(one, Video) or one.is_file]
        maps = self.folder / LABELS_FOLDER / "voc" / MAPS_FOLDER
        folders = (self.folder, self.folder / MASKS_FOLDER, maps)
        self.namer = ResultNames(inputs, folders, self.finished.names)
        old, self.names, done = self.finished.images, {}, []
        for source in sources:
            if kind_of(source) == "images":
                path = file_of(source)
                self.names[source] = old.get(str(path)) or self.namer.of(path)
                if str(path) in old:
                    done.append((self.names[source], self.namer.path_of(path).as_posix()))
        return done

    def _kind(self, source: Source) -> str | None:
        """See `kind_of`; `done` for what an earlier run has done."""
        if isinstance(source, Video):
            is_done = source.name in self.finished.recordings
        else:
            is_done = str(file_of(source)) in self.finished.images
        return "done" if is_done else kind_of(source)

    def _predict_images(self, images: Sequence[Source]) -> Generator[Result]:
        scenes = self.predictor.predict_stream(images, batch=self.batch, **vars(self.selection))
        for result in prefetch(self._save_image, scenes, _DRAWERS, weigh=_weigh):
            yield self._record(result)
            del result  # not kept while the next one is decoded

    def _save_image(self, item: tuple[Source, Scene | ImageError]) -> Result:
        """Called in threads."""
        source, scene = item
        if isinstance(scene, ImageError):
            return Result(source, error=scene)
        start, name = perf_counter(), self.names[source]
        try:
            record = scene.to_dict()
            if self.draw:
                suffix = "png" if max(scene.size) > _MAX_JPEG_SIDE else "jpg"
                record["drawn"] = f"{name}.{suffix}"
                image = scene.draw(in_place=True)  # the copy of a huge image is huge, too
                self._save(image, record["drawn"], quality=92, subsampling=0)
            self._save_mask(record, scene, name)
        except Exception as error:  # noqa: BLE001 - see `_problem`
            return Result(source, error=_problem(source, error))
        record["ms"] = _rounded_times(scene, start)
        drawn = self.folder / record["drawn"] if self.draw else None
        return Result(source, record, drawn, scene)

    def _record(self, result: Result) -> Result:
        """Add labels, and then the line, which says that all is done."""
        if result.scene is None or result.record is None:
            return result
        try:
            path = self.namer.path_of(file_of(result.source)).as_posix()
            self.add_labels(result.scene, self.names[result.source], path)
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
                    self.names[path] = self.namer.of(path)
                    yield from self._predict_images([path])

    def _predict_video(self, source: Video) -> Result:
        try:
            with closing(open_video(source.name, self.video.attempts)) as video:
                if source.is_file:
                    name = self.namer.of(file_of(source))
                else:
                    name = self.namer.free(PurePath(video.stem))
                record = self._predict_opened(video, name)
            self.finished.videos.append(record)
            write_json(self.folder / VIDEOS_FILE, self.finished.videos)
        except Exception as error:  # noqa: BLE001 - see `_problem`
            return Result(source, error=_problem(source, error))
        return Result(source, record, self.folder / record["drawn"] if record["drawn"] else None)

    def _predict_opened(self, video: OpenedVideo, name: str) -> dict[str, Any]:
        """Write NAME.mp4 without audio; decoding, network, drawing and encoding run in parallel."""
        drawn = self.folder / f"{name}.mp4"
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
                if image is not None:
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
        return {
            "source": video.name,
            "drawn": f"{name}.mp4" if self.draw and num_frames else None,
            "live": video.is_live,
            "frames": num_frames,
            "skipped": video.skipped,
            "dropped": video.dropped,
            "reconnects": video.reconnects,
            "last_time": round(last_time, 6),
            "frames_per_second": round(num_frames / (monotonic() - start), 2),
            "ended": video.reason,
        }

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


def _weigh(item: tuple[Source, Scene | ImageError]) -> float:
    """See `prefetch`."""
    return weight_of(item[1].size) if isinstance(item[1], Scene) else 0.0


def _problem(source: Source, error: Exception) -> InputError:
    """What is wrong with one source, in one line.

    Raises:
        InputError: the error itself, if it is one after which nothing can be written.
    """
    if any(getattr(one, "errno", None) in _DISK_ERRORS for one in (error, error.__cause__)):
        raise error
    if isinstance(error, InputError):
        return error
    return InputError(f"{file_of(source)}: {type(error).__name__}: {one_line(error)}")


def _rounded_times(scene: Scene, write_start: float) -> dict[str, float]:
    """Milliseconds of every stage; writing began at `write_start`, of `perf_counter`."""
    times = scene.milliseconds | {"write": (perf_counter() - write_start) * 1000}
    return {stage: round(time, 2) for stage, time in times.items()}
