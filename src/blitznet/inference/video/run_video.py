"""A video in, a drawn video and a line for every frame out."""

from collections.abc import Callable, Generator
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from time import monotonic, perf_counter
from typing import TYPE_CHECKING, Any

from PIL import Image

from blitznet.errors import PictureError
from blitznet.inference.folder_output import (
    MASKS_FOLDER,
    ResultFiles,
    make_masks_folder,
    rounded_times,
    save_mask,
)
from blitznet.inference.prefetch import map_ahead, run_ahead
from blitznet.inference.run import Result
from blitznet.inference.video.frame import Frame
from blitznet.inference.video.live_video import LiveVideo
from blitznet.inference.video.look import look_at_video
from blitznet.inference.video.open_video import DEFAULT_ATTEMPTS
from blitznet.inference.video.tracking import Tracker
from blitznet.inference.video.video_file import VideoFile
from blitznet.inference.video.video_writer import video_writer
from blitznet.scene import Scene

if TYPE_CHECKING:
    from blitznet.inference.predictor import Predictor

# Threads that draw, and drawn frames that may wait for the encoder.
_DRAWERS = 2
_DRAWN_AHEAD = 2


@dataclass(frozen=True)
class VideoOptions:
    """How videos are read.

    Attributes:
        every: take every so-manyth frame.
        max_frames: stop after so many frames of a video; None = at its end.
        track: whether objects keep an identity from frame to frame.
        attempts: how often to ask for a lost live source before giving up.
    """

    every: int = 1
    max_frames: int | None = None
    track: bool = False
    attempts: int = DEFAULT_ATTEMPTS


def predict_video(
    predictor: "Predictor",
    video: VideoFile | LiveVideo,
    files: ResultFiles,
    score: float,
    batch: int | None = None,
    options: VideoOptions | None = None,
) -> Generator[tuple[str, Result | PictureError]]:
    """Predict a video into NAME.mp4 and `predictions.jsonl`; its audio is left out.

    Decoding, the network, drawing and encoding go on side by side, a few frames apart. When the
    video has ended, whatever the reason, its record is added to `files.videos`.

    Args:
        predictor: a loaded network.
        video: opened; it is not closed.
        files: of the run.
        score: least score of an object, 0..1.
        batch: frames a forward pass of a recording; None = what suits the device.
        options: None = the default ones.

    Yields:
        The video's name and the result of each frame; or, for a video without any frame that
        can be read, the reason.

    Raises:
        InputError: if something cannot be written.
    """
    options = options or VideoOptions()
    name = files.free_name(video.stem)
    path = files.folder / f"{name}.mp4" if files.draw else None
    if files.save_masks:
        make_masks_folder(files.folder / MASKS_FOLDER / name)
    tracker = Tracker(score, video.rate / options.every) if options.track else None

    def finish(item: tuple[Frame, Scene]) -> tuple[Frame, Image.Image | None, Result]:
        frame, scene = item
        start = perf_counter()
        drawn = scene.draw() if files.draw else None
        record = _record(video.name, frame, scene)
        if files.save_masks:
            record["seg_map"] = save_mask(scene, files.folder, f"{name}/{frame.index:06}")
        record["ms"] = rounded_times(scene, start)
        return frame, drawn, Result(scene, record, path, name)

    num_frames, last_time, start = 0, 0.0, monotonic()
    with ExitStack() as stack:
        seen = stack.enter_context(
            closing(
                look_at_video(
                    predictor, video, score, batch, tracker, options.every, options.max_frames
                )
            )
        )
        ready = stack.enter_context(
            closing(run_ahead(map_ahead(finish, seen, _DRAWERS), _DRAWN_AHEAD))
        )
        write: Callable[[Image.Image, int], None] | None = None
        for frame, drawn, result in ready:
            if path is not None and drawn is not None:
                if write is None:
                    writer = video_writer(
                        path, frame, video.rate / options.every, video.pixel_shape, video.is_live
                    )
                    write = stack.enter_context(writer)
                write(drawn, frame.pts)
            files.add_record(result.record)
            num_frames, last_time = num_frames + 1, frame.time
            yield video.name, result
    if num_frames == 0 and not video.is_live:
        yield video.name, PictureError(f"{video.name}: none of its frames can be read")
        return
    files.videos.append(_summary(video, path, num_frames, last_time, monotonic() - start))


def _record(source: str, frame: Frame, scene: Scene) -> dict[str, Any]:
    fields = scene.to_dict()
    return {
        "source": source,
        "frame": frame.index,
        "time": round(frame.time, 6),
        **{key: value for key, value in fields.items() if key != "source"},
    }


def _summary(
    video: VideoFile | LiveVideo, path: Path | None, frames: int, last_time: float, wall: float
) -> dict[str, Any]:
    return {
        "source": video.name,
        "drawn": None if path is None or frames == 0 else path.name,
        "live": video.is_live,
        "frames": frames,
        "skipped": video.skipped,
        "dropped": video.dropped,
        "reconnects": video.reconnects,
        "last_time": round(last_time, 6),
        "frames_per_second": round(frames / wall, 2),
        "ended": video.reason,
    }


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
