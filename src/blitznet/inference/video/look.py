"""What a network sees in the frames of a video."""

from collections import deque
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from itertools import islice
from typing import Protocol

from PIL import Image

from blitznet.errors import PictureError
from blitznet.inference.prefetch import run_ahead
from blitznet.inference.video.frame import Frame
from blitznet.inference.video.live_video import LiveVideo
from blitznet.inference.video.tracking import WEAK_SCORE, Tracker
from blitznet.inference.video.video_file import VideoFile
from blitznet.scene import Scene

# Decoded frames that may wait for the network.
_FRAMES_AHEAD = 4


class Predicts(Protocol):
    """What a video needs of a network; see `blitznet.inference.predictor.Predictor`."""

    def predict(self, source: Image.Image, score: float, /) -> Scene:
        """What it sees in one picture."""

    def predict_stream(
        self, sources: Iterable[Image.Image], score: float, batch: int | None, /
    ) -> Iterator[tuple[Image.Image, Scene | PictureError]]:
        """What it sees in many, one at a time."""


def look_at_video(
    predictor: Predicts,
    video: VideoFile | LiveVideo,
    score: float,
    batch: int | None = None,
    tracker: Tracker | None = None,
    every: int = 1,
    max_frames: int | None = None,
) -> Generator[tuple[Frame, Scene]]:
    """Predict a video frame by frame, in bounded memory however long it is.

    A recording is decoded ahead in a thread, and none of its frames is left out. Of a live source
    the latest frame is taken, alone, whenever the network is free.

    Args:
        predictor: a loaded network.
        video: opened; it is not closed.
        score: least score of an object, 0..1.
        batch: frames a forward pass of a recording; None = what suits the device.
        tracker: gives objects identities; None = they have none.
        every: take every so-manyth frame.
        max_frames: stop after so many; None = at the end.

    Yields:
        Frames in order, each with what was seen in it.
    """
    least = score if tracker is None else min(score, WEAK_SCORE)
    stop = None if max_frames is None else (max_frames - 1) * every + 1
    frames = islice(video, 0, stop, every)
    seen = (
        _one_by_one(predictor, frames, least)
        if video.is_live
        else _in_batches(predictor, frames, least, batch)
    )
    with closing(seen):
        for frame, scene in seen:
            yield frame, tracker.follow(scene, frame.time) if tracker else scene


def _one_by_one(
    predictor: Predicts, frames: Iterator[Frame], score: float
) -> Generator[tuple[Frame, Scene]]:
    for frame in frames:
        yield frame, predictor.predict(frame.image, score)


def _in_batches(
    predictor: Predicts, frames: Iterator[Frame], score: float, batch: int | None
) -> Generator[tuple[Frame, Scene]]:
    under_way: deque[Frame] = deque()

    def images(ahead: Iterable[Frame]) -> Iterator[Image.Image]:
        for frame in ahead:
            under_way.append(frame)
            yield frame.image

    with closing(run_ahead(frames, _FRAMES_AHEAD)) as ahead:
        for _, scene in predictor.predict_stream(images(ahead), score, batch):
            assert not isinstance(scene, PictureError)  # these pictures are decoded already
            yield under_way.popleft(), scene
