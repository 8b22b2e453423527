"""A run over sources of several kinds, part by part, each with its own length and speed."""

from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Literal

from blitznet.errors import InputError, PictureError
from blitznet.inference.folder_output import ResultFiles
from blitznet.inference.predictor import Predictor
from blitznet.inference.run import Result, predict_as_they_come, predict_pictures
from blitznet.inference.sources import Video
from blitznet.inference.video.decoding import require_video
from blitznet.inference.video.growing_folder import growing_folder
from blitznet.inference.video.live_video import LiveVideo
from blitznet.inference.video.open_video import open_video
from blitznet.inference.video.run_video import VideoOptions, predict_video
from blitznet.inference.video.tracking import require_tracking
from blitznet.inference.video.video_file import VideoFile
from blitznet.interruption import deferred_interruption


@dataclass(frozen=True)
class Part:
    """Consecutive pictures, or one video.

    Attributes:
        kind: "pictures" or "videos".
        what: "pictures", or the video's name.
        total: how many results there will be; None = unknown.
        results: of pictures, or of the frames of a video; to be gone through before the next part
            is asked for.
    """

    kind: Literal["pictures", "videos"]
    what: str
    total: int | None
    results: Generator[tuple[Path | str, Result | PictureError]]

    @property
    def is_video(self) -> bool:
        """Whether the results are frames."""
        return self.kind == "videos"


def prediction_parts(
    predictor: Predictor,
    sources: Sequence[Path | Video],
    files: ResultFiles,
    score: float,
    batch: int | None = None,
    options: VideoOptions | None = None,
) -> Iterator[Part]:
    """Predict pictures and videos in their order.

    Ctrl-C and SIGTERM are the way to end a live source: what was written of it is whole, and
    nothing after it is begun. Anywhere else they break the run off.

    Args:
        predictor: a loaded network.
        sources: as of `find_sources`.
        files: of the run.
        score: least score of an object, 0..1.
        batch: pictures a forward pass; None = what suits the device.
        options: of videos; None = the default ones.

    Yields:
        Parts; that of a video that cannot be opened has the reason as its only result.
    """
    options = options or VideoOptions()
    for is_video, group in groupby(sources, lambda source: isinstance(source, Video)):
        if not is_video:
            pictures = [source for source in group if isinstance(source, Path)]
            read = predict_pictures(predictor, pictures, files, score, batch)
            yield Part("pictures", "pictures", len(pictures), read)
            continue
        for source in group:
            assert isinstance(source, Video)
            try:
                video = open_video(source.name, options.attempts)
            except InputError as problem:
                yield Part("videos", source.name, None, _unreadable(source, problem))
                continue
            with closing(video):
                results = _video_results(predictor, video, files, score, batch, options)
                yield Part("videos", video.name, _expected(video, options), results)
            if video.was_stopped:
                return


def watched_parts(
    predictor: Predictor,
    folder: Path,
    files: ResultFiles,
    score: float,
    idle_seconds: float | None,
) -> Iterator[Part]:
    """Predict a folder that fills until nothing comes any more, or Ctrl-C or SIGTERM.

    Raises:
        InputError: if its results are to be written into it, where they would be pictures too.
    """
    if folder.resolve() == files.folder.resolve():
        raise InputError(f"{folder}: a watched folder cannot take the results; name another --out")
    results = _watch(predictor, folder, files, score, idle_seconds)
    yield Part("pictures", "pictures", None, results)


def check_sources(
    sources: Sequence[Path | Video],
    watched: Path | None,
    has_label_formats: bool,
    options: VideoOptions,
) -> None:
    """Find what cannot work before a network is loaded.

    Raises:
        InputError: if label formats are wanted for what is no set of pictures, or a package for
            videos or for following objects is missing.
    """
    has_videos = any(isinstance(source, Video) for source in sources)
    if has_label_formats and (has_videos or watched):
        raise InputError("--format writes labels of pictures, not of videos or with --watch")
    if has_videos:
        require_video()
    if options.track:
        require_tracking()


def _unreadable(video: Video, problem: InputError) -> Generator[tuple[str, Result | PictureError]]:
    yield video.name, PictureError(str(problem))


def _watch(
    predictor: Predictor,
    folder: Path,
    files: ResultFiles,
    score: float,
    idle_seconds: float | None,
) -> Generator[tuple[Path, Result | PictureError]]:
    with deferred_interruption() as received:
        pictures: Iterable[Path] = growing_folder(folder, idle_seconds, lambda: bool(received))
        yield from predict_as_they_come(predictor, pictures, files, score)


def _video_results(
    predictor: Predictor,
    video: VideoFile | LiveVideo,
    files: ResultFiles,
    score: float,
    batch: int | None,
    options: VideoOptions,
) -> Generator[tuple[str, Result | PictureError]]:
    results = partial(predict_video, predictor, video, files, score, batch, options)
    if not isinstance(video, LiveVideo):
        yield from results()
        return
    with deferred_interruption() as received:
        video.should_stop = lambda: bool(received)
        yield from results()


def _expected(video: VideoFile | LiveVideo, options: VideoOptions) -> int | None:
    if video.total is None:
        return options.max_frames
    frames = -(-video.total // options.every)
    return frames if options.max_frames is None else min(frames, options.max_frames)
