"""Write annotated videos and their records."""

from collections.abc import Callable
from contextlib import ExitStack, closing
from pathlib import PurePath
from time import monotonic
from typing import TYPE_CHECKING

from PIL import Image

from blitznet.errors import ImageError
from blitznet.files.result_folder import ensure_folder
from blitznet.inference.line_file import Record
from blitznet.inference.prefetch import prefetch, prefetch_items
from blitznet.inference.result_writer import ResultWriter
from blitznet.inference.selection import Selection
from blitznet.inference.sources import Video, file_of
from blitznet.inference.video.decoding import Frame
from blitznet.inference.video.live_video import LiveVideo
from blitznet.inference.video.open_video import open_video
from blitznet.inference.video.predict_frames import VideoOptions, predict_frames
from blitznet.inference.video.video_writer import video_writer
from blitznet.interruption import deferred_interruption
from blitznet.progress import with_progress
from blitznet.scene import Scene

if TYPE_CHECKING:
    from blitznet.inference.predictor import Predictor

DRAWERS = 2  # threads that draw and save
_DRAWN_AHEAD = 2  # frames that may wait for the encoder


def predict_to_video(
    predictor: "Predictor",
    source: Video,
    selection: Selection,
    batch: int | None,
    options: VideoOptions,
    writer: ResultWriter,
    show_progress: bool,
) -> Record:
    """Predict a video; write NAME.mp4 without audio, and a line per frame.

    Decoding, network, drawing and encoding run in parallel. Ctrl-C and SIGTERM end a live source
    normally, and interrupt a recording.

    Args:
        predictor: a loaded network.
        source: the video, not opened yet.
        selection: which predictions to show.
        batch: see `predict_frames`.
        options: how to read the video.
        writer: writer of the run.
        show_progress: whether to show a progress bar on a terminal.

    Returns:
        The video's entry of `videos.json`.

    Raises:
        InputError: if the video cannot be opened, or none of its frames can be read.
    """
    num_frames, last_time = 0, 0.0
    with ExitStack() as stack:
        video = stack.enter_context(closing(open_video(source.name, options.attempts)))
        names, path = writer.names, file_of(source)
        name = names.of(path) if source.is_file else names.free(PurePath(video.stem))
        if isinstance(video, LiveVideo):
            received = stack.enter_context(deferred_interruption())
            video.should_stop = lambda: bool(received)

        def finish(item: tuple[Frame, Scene]) -> tuple[Frame, Image.Image | None, Record]:
            frame, scene = item
            return frame, *writer.write_frame(video.name, name, frame, scene)

        predicted = predict_frames(predictor, video, selection, batch, options)
        frames = stack.enter_context(closing(predicted))
        finished = prefetch_items(prefetch(finish, frames, DRAWERS), _DRAWN_AHEAD)
        stack.enter_context(closing(finished))
        total = options.expected_frames(video)
        shown = with_progress(finished, total, video.name, show_progress)
        stack.enter_context(closing(shown))
        start = monotonic()
        write: Callable[[Image.Image, int], None] | None = None
        for frame, image, record in shown:
            if image is not None:
                if write is None:
                    path = writer.folder / f"{name}.mp4"
                    ensure_folder(path.parent)
                    rate = video.rate / options.every
                    opened = video_writer(path, frame, rate, video.pixel_shape, video.is_live)
                    write = stack.enter_context(opened)
                write(image, frame.pts)
            writer.append(record)
            num_frames, last_time = num_frames + 1, frame.time
        if num_frames == 0 and not video.is_live:
            raise ImageError(f"{video.name}: none of its frames can be read")
    return {
        "source": video.name,
        "drawn": f"{name}.mp4" if writer.draw and num_frames else None,
        "live": video.is_live,
        "frames": num_frames,
        "skipped": video.skipped,
        "dropped": video.dropped,
        "reconnects": video.reconnects,
        "last_time": round(last_time, 6),
        "frames_per_second": round(num_frames / (monotonic() - start), 2),
        "ended": video.reason,
    }
