"""Write drawn frames to an MP4 file with their original timestamps."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path
from typing import Final

from PIL import Image

from blitznet.errors import InputError
from blitznet.files.atomic_write import atomic_write
from blitznet.inference.video.decoding import Frame

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
                stream.codec_context.time_base = first.time_base
                stream.codec_context.sample_aspect_ratio = pixel_shape
                stream.codec_context.colorspace = _BT709
                stream.codec_context.color_primaries = _BT709
                stream.codec_context.color_trc = _BT709
                stream.codec_context.color_range = _NARROW_RANGE

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
