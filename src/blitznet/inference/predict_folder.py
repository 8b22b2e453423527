"""Images and videos in, a folder of results out: what `blitznet predict` does."""

import json
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from functools import partial
from itertools import groupby
from pathlib import Path
from time import monotonic, perf_counter
from typing import Any, TextIO

from PIL import Image

from blitznet.classes import palette_image
from blitznet.errors import InputError, PictureError
from blitznet.inference.predictor import DEFAULT_SCORE, Predictor, weight_of
from blitznet.inference.prefetch import map_ahead, run_ahead
from blitznet.inference.sources import Source, Video, WatchedFolder
from blitznet.inference.video.decoding import Frame, OpenedVideo
from blitznet.inference.video.live_video import STOPPED, LiveVideo
from blitznet.inference.video.open_video import open_video
from blitznet.inference.video.predict_frames import VideoOptions, predict_frames
from blitznet.inference.video.video_writer import video_writer
from blitznet.inference.watch_folder import watch_folder
from blitznet.inference.writers.label_formats import open_label_files
from blitznet.inference.writers.voc import MAPS_FOLDER
from blitznet.interruption import deferred_interruption
from blitznet.plain_names import file_name
from blitznet.progress import with_progress
from blitznet.result_folder import ensure_folder
from blitznet.scene import Scene
from blitznet.text_files import write_json
from blitznet.whole_file import whole_file

PREDICTIONS_FILE = "predictions.jsonl"
VIDEOS_FILE = "videos.json"
MASKS_FOLDER = "masks"
LABELS_FOLDER = "labels"

# Threads that draw, and drawn frames that may wait for the encoder.
_DRAWERS = 2
_DRAWN_AHEAD = 2
# libjpeg's limit (JPEG_MAX_DIMENSION); longer images are drawn as PNG.
_MAX_JPEG_SIDE = 65500


@dataclass(frozen=True, eq=False)
class Result:
    """What became of one image or video.

    Attributes:
        source: as given; of a watched folder the path of one of its images.
        record: of an image its line of `predictions.jsonl`, of a video its entry of
            `videos.json`; None if it could not be read.
        drawn: the image or video with boxes and segmentation map; None if there is none.
        scene: of an image its prediction; `scene.image` is the drawn one if one was asked for.
        error: why it could not be read.
    """

    source: Path | Video
    record: dict[str, Any] | None = None
    drawn: Path | None = None
    scene: Scene | None = None
    error: InputError | None = None

    def __str__(self) -> str:
        """One line: `a.jpg: 2 x person, 1 x dog; pixels 31% person, 12% dog`, or the error."""
        if self.record is None:
            return str(self.error)
        found = describe_video(self.record) if self.scene is None else self.scene.summary()
        return f"{self.record['source']}: {found}"


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
    show_progress: bool = False,
) -> Generator[Result]:
    """Predict images and videos in their order, and write each result before it is given out.

    Every file appears complete or not at all: `predictions.jsonl`, with a line for every image and
    frame that could be read, and `videos.json`, if there were videos, when all sources are done.
    Ctrl-C and SIGTERM are the way to end a live source or a watched folder: what was written is
    whole, and nothing after it is begun. Anywhere else they break the run off.

    Args:
        predictor: a loaded network.
        sources: as of `find_sources`.
        folder: exists; files of the same names are replaced, except the inputs themselves.
        score: minimum score of an object, 0..1.
        batch: images per forward pass; None = what suits the device.
        draw: whether to write NAME.jpg or NAME.mp4 with boxes and segmentation map.
        save_masks: whether to write masks/NAME.png, class ids with the VOC palette.
        formats: label formats, see `choose_label_formats`; written to labels/FORMAT.
        video: how videos are read; None = the default way.
        show_progress: whether to show a progress bar on a terminal.

    Yields:
        A result for each source, in order; for a watched folder one for each of its images.

    Raises:
        InputError: if something cannot be written, or a watched folder is to take the results.
    """
    images = [source for source in sources if isinstance(source, Path)]
    inputs = images + [Path(source.name) for source in sources if isinstance(source, Video)]
    with (
        whole_file(folder / PREDICTIONS_FILE) as temporary,
        temporary.open("w", encoding="utf-8") as lines,
        open_label_files(folder / LABELS_FOLDER, formats, predictor.names, images) as add_labels,
    ):
        run = _Run(
            predictor, folder, score, batch, draw, save_masks, video or VideoOptions(),
            show_progress, _names_of_inputs(folder, inputs), lines, add_labels,
        )  # fmt: skip
        yield from run.predict(sources)
    if run.videos:
        write_json(folder / VIDEOS_FILE, run.videos)


def describe_video(record: dict[str, Any]) -> str:
    """One line: `250 frames, 2 broken ones skipped; 31.2 frames a second`."""
    parts = [f"{record['frames']} frames"]
    if record["skipped"]:
        parts.append(f"{record['skipped']} broken ones skipped")
    if record["live"]:
        parts.append(f"{record['dropped']} dropped")
        parts.append(f"{record['reconnects']} times reconnected")
    text = f"{', '.join(parts)}; {record['frames_per_second']:.1f} frames a second"
    return text if record["ended"] == "end" else f"{text}; {record['ended']}"


@dataclass(eq=False)
class _Run:
    """The arguments of `predict_to_folder` and what all of its sources share.

    Attributes:
        taken: names of result files, in lower case, that are not to be used again.
        lines: `predictions.jsonl`, open.
        add_labels: writes labels of a scene, of a unique name and the path of its image.
        videos: records of the videos that are done.
    """

    predictor: Predictor
    folder: Path
    score: float
    batch: int | None
    draw: bool
    save_masks: bool
    video: VideoOptions
    show_progress: bool
    taken: set[str]
    lines: TextIO
    add_labels: Callable[[Scene, str, Path], None]
    videos: list[dict[str, Any]] = field(default_factory=list)

    def predict(self, sources: Iterable[Source]) -> Generator[Result]:
        for is_image, group in groupby(sources, lambda source: isinstance(source, Path)):
            if is_image:
                images = [source for source in group if isinstance(source, Path)]
                results = self._predict_images(images)
                yield from with_progress(results, len(images), "images", self.show_progress)
                continue
            for source in group:
                if isinstance(source, WatchedFolder):
                    results = self._watch(source)
                    yield from with_progress(results, None, "images", self.show_progress)
                elif isinstance(source, Video):
                    yield self._predict_video(source)
                    if self.videos and self.videos[-1]["ended"] == STOPPED:
                        return

    def _predict_images(self, images: Sequence[Path]) -> Generator[Result]:
        scenes = self.predictor.predict_stream(images, self.score, self.batch)
        saved = map_ahead(self._save_image, self._named(scenes), _DRAWERS, weigh=_weigh)
        for path, name, result in saved:
            if result.scene is not None:
                self.lines.write(json.dumps(result.record) + "\n")
                self.add_labels(result.scene, name, path)
            yield result
            del result  # not kept while the next one is decoded

    def _named(
        self, scenes: Iterable[tuple[Path, Scene | PictureError]]
    ) -> Iterator[tuple[Path, Scene | PictureError, str]]:
        for path, scene in scenes:
            yield path, scene, self._free_name(path.stem)
            del scene  # not kept while the next image is decoded

    def _save_image(self, item: tuple[Path, Scene | PictureError, str]) -> tuple[Path, str, Result]:
        """Called in threads."""
        path, scene, name = item
        if isinstance(scene, PictureError):
            return path, name, Result(path, error=scene)
        start = perf_counter()
        record = scene.to_dict()
        drawn = None
        if self.draw:
            is_too_long = max(scene.size) > _MAX_JPEG_SIDE
            drawn = self.folder / f"{name}.{'png' if is_too_long else 'jpg'}"
            with whole_file(drawn, sync=False) as temporary:
                image = scene.draw(in_place=True)  # the copy of a huge image is huge, too
                image_format = "PNG" if is_too_long else "JPEG"
                image.save(temporary, format=image_format, quality=92, subsampling=0)
        self._save_mask(record, scene, name)
        record["ms"] = _rounded_times(scene, start)
        return path, name, Result(path, record, drawn, scene)

    def _watch(self, source: WatchedFolder) -> Generator[Result]:
        """Images one by one: none waits for the next."""
        if source.folder.resolve() == self.folder.resolve():
            raise InputError(
                f"{source.folder}: a watched folder cannot take the results; name another --out"
            )
        with deferred_interruption() as received:
            for path in watch_folder(source.folder, source.idle_seconds, lambda: bool(received)):
                yield from self._predict_images([path])

    def _predict_video(self, source: Video) -> Result:
        """Write NAME.mp4 without audio; decoding, network, drawing and encoding run in parallel."""
        try:
            video = open_video(source.name, self.video.attempts)
        except InputError as error:
            return Result(source, error=error)
        name = self._free_name(video.stem)
        drawn = self.folder / f"{name}.mp4" if self.draw else None
        finish = partial(self._finish_frame, video.name, name)
        total = self.video.expected_frames(video)
        num_frames, last_time, start = 0, 0.0, monotonic()
        with ExitStack() as stack:
            stack.enter_context(closing(video))
            if isinstance(video, LiveVideo):  # Ctrl-C and SIGTERM end it; a recording is broken off
                received = stack.enter_context(deferred_interruption())
                video.should_stop = lambda: bool(received)
            frames = predict_frames(self.predictor, video, self.score, self.batch, self.video)
            stack.enter_context(closing(frames))
            finished = run_ahead(map_ahead(finish, frames, _DRAWERS), _DRAWN_AHEAD)
            stack.enter_context(closing(finished))
            shown = with_progress(finished, total, video.name, self.show_progress, True)
            write: Callable[[Image.Image, int], None] | None = None
            for frame, image, record in stack.enter_context(closing(shown)):
                if drawn is not None and image is not None:
                    if write is None:
                        rate = video.rate / self.video.every
                        writer = video_writer(drawn, frame, rate, video.pixel_shape, video.is_live)
                        write = stack.enter_context(writer)
                    write(image, frame.pts)
                self.lines.write(json.dumps(record) + "\n")
                num_frames, last_time = num_frames + 1, frame.time
        if num_frames == 0:
            drawn = None
            if not video.is_live:
                problem = PictureError(f"{video.name}: none of its frames can be read")
                return Result(source, error=problem)
        self.videos.append(_video_record(video, drawn, num_frames, last_time, monotonic() - start))
        return Result(source, self.videos[-1], drawn)

    def _finish_frame(
        self, source: str, name: str, item: tuple[Frame, Scene]
    ) -> tuple[Frame, Image.Image | None, dict[str, Any]]:
        """Called in threads."""
        frame, scene = item
        start = perf_counter()
        image = scene.draw() if self.draw else None
        record = {"source": source, "frame": frame.index, "time": round(frame.time, 6)}
        record |= {key: value for key, value in scene.to_dict().items() if key != "source"}
        self._save_mask(record, scene, f"{name}/{frame.index:06}")
        record["ms"] = _rounded_times(scene, start)
        return frame, image, record

    def _save_mask(self, record: dict[str, Any], scene: Scene, name: str) -> None:
        """Write masks/NAME.png where masks are wanted, and put its path into the record."""
        if self.save_masks and scene.seg_map is not None:
            record["seg_map"] = f"{MASKS_FOLDER}/{name}.png"
            path = self.folder / record["seg_map"]
            ensure_folder(path.parent)
            with whole_file(path, sync=False) as temporary:
                palette_image(scene.seg_map).save(temporary, format="PNG")

    def _free_name(self, stem: str) -> str:
        """Gives out each name once, whatever its case: `cat`, `cat-2`, ..."""
        stem = file_name(stem)
        name, number = stem, 1
        while name.casefold() in self.taken:
            number += 1
            name = f"{stem}-{number}"
        self.taken.add(name.casefold())
        return name


def _weigh(item: tuple[Path, Scene | PictureError, str]) -> float:
    """See `map_ahead`."""
    return weight_of(item[1].size) if isinstance(item[1], Scene) else 0.0


def _names_of_inputs(folder: Path, inputs: Sequence[Path]) -> set[str]:
    """Names, in lower case, of the inputs that lie where results go: none of them is replaced."""
    folder = folder.resolve()
    ours = {folder, folder / MASKS_FOLDER, folder / LABELS_FOLDER / "voc" / MAPS_FOLDER}
    inside = {parent for parent in {path.parent for path in inputs} if parent.resolve() in ours}
    return {path.stem.casefold() for path in inputs if path.parent in inside}


def _video_record(
    video: OpenedVideo, drawn: Path | None, frames: int, last_time: float, seconds: float
) -> dict[str, Any]:
    return {
        "source": video.name,
        "drawn": None if drawn is None else drawn.name,
        "live": video.is_live,
        "frames": frames,
        "skipped": video.skipped,
        "dropped": video.dropped,
        "reconnects": video.reconnects,
        "last_time": round(last_time, 6),
        "frames_per_second": round(frames / seconds, 2),
        "ended": video.reason,
    }


def _rounded_times(scene: Scene, write_start: float) -> dict[str, float]:
    """Milliseconds of every stage; writing began at `write_start`, of `perf_counter`."""
    times = scene.milliseconds | {"write": (perf_counter() - write_start) * 1000}
    return {stage: round(time, 2) for stage, time in times.items()}
