"""Predict the frames of a video, and track objects across them."""

from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, replace
from fractions import Fraction
from itertools import islice, tee
from typing import TYPE_CHECKING

import numpy as np

from blitznet.errors import ImageError
from blitznet.extras import require
from blitznet.inference.prefetch import prefetch_items
from blitznet.inference.selection import Selection
from blitznet.inference.video.decoding import Frame, OpenedVideo
from blitznet.scene import Scene

if TYPE_CHECKING:
    from blitznet.inference.predictor import Predictor

# Minimum score of boxes that continue a track while the object is hard to see (ByteTrack, section
# 3); they are not reported.
WEAK_SCORE = 0.1
# Maximum number of decoded frames that wait for the network.
_FRAMES_AHEAD = 4


@dataclass(frozen=True)
class VideoOptions:
    """How to read videos.

    Attributes:
        every: take every N-th frame.
        max_frames: stop after this many frames of a video; None = at its end.
        track: whether to track objects across frames, see `Scene.ids`.
        attempts: maximum number of attempts to reconnect to a live source.
    """

    every: int = 1
    max_frames: int | None = None
    track: bool = False
    attempts: int = 5


def predict_frames(
    predictor: "Predictor",
    video: OpenedVideo,
    selection: Selection,
    batch: int | None,
    options: VideoOptions,
) -> Generator[tuple[Frame, Scene]]:
    """Predict a video frame by frame, in bounded memory for any length.

    A recording is decoded ahead in a thread, and no frame is dropped. For a live source, the latest
    frame is predicted alone, whenever the network is free.

    Args:
        predictor: a loaded network.
        video: an opened video; it is not closed here.
        selection: which predictions to show.
        batch: frames per forward pass of a recording; None = the default for the device.
        options: which frames to take, and whether to track objects.

    Yields:
        Frames in order, each with its scene.

    Raises:
        InputError: if `options.track` is set and the tracking library is not installed.
    """
    score = selection.score
    if options.track:
        selection = replace(selection, score=min(score, WEAK_SCORE))
    stop = None if options.max_frames is None else (options.max_frames - 1) * options.every + 1
    frames = islice(video, 0, stop, options.every)
    if video.is_live:
        found = ((frame, predictor.predict(frame.image, **vars(selection))) for frame in frames)
    else:
        found = _predict_recording(predictor, frames, selection, batch)
    with closing(found):
        rate = video.rate / options.every
        yield from track_objects(found, score, rate) if options.track else found


def _predict_recording(
    predictor: "Predictor", frames: Iterator[Frame], selection: Selection, batch: int | None
) -> Generator[tuple[Frame, Scene]]:
    with closing(prefetch_items(frames, _FRAMES_AHEAD)) as ahead:
        given, kept = tee(ahead)
        images = (frame.image for frame in given)
        scenes = predictor.predict_stream(images, batch=batch, **vars(selection))
        for frame, (_, scene) in zip(kept, scenes, strict=True):
            assert not isinstance(scene, ImageError)  # frames are already decoded
            yield frame, scene


def track_objects(
    found: Iterable[tuple[Frame, Scene]], score: float, rate: Fraction
) -> Iterator[tuple[Frame, Scene]]:
    """Give the objects of one video track ids, with ByteTrack from the package `trackers`.

    An object gets its id in the second frame that shows it, and keeps it if it is hidden for up to
    a second. A track has one class: a cat never takes over the id of a dog in the same place.

    Args:
        found: frames in order, and their scenes with boxes from WEAK_SCORE on.
        score: minimum score for an object to be reported or to start a track.
        rate: frames per second.

    Yields:
        The frames and scenes, with ids and without objects below the minimum score.

    Raises:
        InputError: if the tracking library is not installed.
    """
    require("trackers", "track", "tracking")
    from supervision import Detections
    from trackers import ByteTrackTracker

    tracker = ByteTrackTracker(
        frame_rate=float(rate), track_activation_threshold=score, high_conf_det_threshold=score
    )
    for frame, scene in found:
        # ByteTrack ignores classes, so boxes of different classes are offset to not overlap, as in
        # torchvision's batched_nms.
        apart = scene.labels[:, None] * 2.0 * max(scene.size)
        boxes = Detections(
            xyxy=scene.boxes + apart,
            confidence=scene.scores,
            class_id=scene.labels,
            data={"row": np.arange(len(scene.boxes))},
        )
        tracked = tracker.update(boxes, timestamp=frame.time)
        ids = np.zeros(len(scene.boxes), dtype=np.int64)
        if tracked.tracker_id is not None and len(tracked):
            ids[tracked.data["row"]] = tracked.tracker_id + 1  # it counts from 0, and -1 is none
        yield frame, replace(scene, ids=ids).filter(scene.scores >= score)
