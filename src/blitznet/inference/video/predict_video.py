"""Write annotated videos and their records."""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from fractions import Fraction
from math import ceil
from pathlib import Path, PurePath
from time import monotonic
from typing import TYPE_CHECKING, Final

from PIL import Image

from blitznet.errors import ImageError, InputError
from blitznet.files.atomic_write import atomic_write
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
from blitznet.interruption import deferred_interruption
from blitznet.progress import with_progress
from blitznet.scene import Scene

if TYPE_CHECKING:
    from blitznet.inference.predictor import Predictor

DRAWERS = 2  # threads that draw and save
_DRAWN_AHEAD = 2  # frames that may wait for the encoder

_ENCODER: Final = "libx264"
# Visually close to the source; "veryfast" leaves the CPU to the network.
_ENCODER_OPTIONS = {"preset": "veryfast", "crf": "21", "bf": "0"}
# By is_endless. delay_moov allows a first timestamp above 0. If the process is killed, both kinds
# are playable up to the last fragment. A hybrid file becomes an ordinary one at its end, but the
# muxer remembers every frame until then, so an endless source stays fragmented.
_MUXER_FLAGS = {
    False: "hybrid_fragmented+delay_moov",
    True: "frag_keyframe+delay_moov+default_base_moof",
}
_SECONDS_PER_KEYFRAME = 2
# ITU-T H.273 code of BT.709, and FFmpeg's code of narrow range.
_BT709, _NARROW_RANGE = 1, 1


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
        total = None if video.total is None else ceil(video.total / options.every)
        known = [number for number in (total, options.max_frames) if number is not None]
        expected = min(known, default=None)
        shown = with_progress(finished, expected, video.name, show_progress)
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


@contextmanager
def video_writer(
    path: Path, first: Frame, rate: Fraction, pixel_shape: Fraction, is_endless: bool
) -> Iterator[Callable[[Image.Image, int], None]]:
    """Write an H.264 video; it is renamed to `path` if the block succeeds.

    Args:
        path: final name, replaced if it exists.
        first: frame that sets the size and the time base.
        rate: frames per second, a hint for the encoder.
        pixel_shape: aspect ratio of a pixel, width by height.
        is_endless: whether memory must not grow with the number of frames.

    Yields:
        A function that writes an image of any size with its `pts`, in units of the first frame's
        time base.

    Raises:
        InputError: if the file cannot be written.
    """
    import av

    width, height = first.image.size
    # Many players support only 4:2:0, which requires even sizes; browsers and FFmpeg play 4:4:4.
    pixel_format = "yuv444p" if width % 2 or height % 2 else "yuv420p"
    with atomic_write(path) as temporary:
        try:
            with av.open(
                str(temporary),
                "w",
                format="mp4",
                options={"movflags": _MUXER_FLAGS[is_endless], "flush_packets": "1"},
            ) as container:
                keyframes = {"g": str(min(max(round(rate * _SECONDS_PER_KEYFRAME), 12), 250))}
                stream = container.add_stream(
                    _ENCODER, rate=rate, options=_ENCODER_OPTIONS | keyframes
                )
                stream.width, stream.height, stream.pix_fmt = width, height, pixel_format
                codec = stream.codec_context
                codec.time_base, codec.sample_aspect_ratio = first.time_base, pixel_shape
                codec.colorspace = codec.color_primaries = codec.color_trc = _BT709
                codec.color_range = _NARROW_RANGE

                def write(image: Image.Image, pts: int) -> None:
                    if image.size != (width, height):
                        image = image.resize((width, height))
                    rgb: av.VideoFrame = av.VideoFrame.from_image(image)  # type: ignore[no-untyped-call]
                    frame = rgb.reformat(format=pixel_format, dst_colorspace="ITU709")
                    frame.pts, frame.time_base = pts, first.time_base
                    container.mux(stream.encode(frame))

                yield write
                container.mux(stream.encode())
        except av.error.FFmpegError as error:
            raise InputError(f"{path}: cannot be written ({error.strerror or error})") from error
