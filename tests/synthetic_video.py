"""Small videos with recognisable frames: frame i is grey with brightness `grey_of(i)`."""

from collections.abc import Iterable, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

MILLISECOND = Fraction(1, 1000)


def grey_of(index: int) -> int:
    return 20 + 5 * (index % 40)


def write_video(
    path: Path,
    times: Iterable[int],
    time_base: Fraction = MILLISECOND,
    rate: Fraction = Fraction(25),
    size: tuple[int, int] = (64, 48),
    gop: int = 10,
    container: str = "mp4",
    options: dict[str, str] | None = None,
    display_matrix: Sequence[int] | None = None,
    top_is_red: bool = False,
) -> Path:
    """H.264 without B-frames; `times` are in units of `time_base`."""
    width, height = size
    with av.open(str(path), "w", format=container, options=options or {}) as file:
        stream = file.add_stream(
            "libx264", rate=rate, options={"crf": "10", "bf": "0", "g": str(gop), "threads": "1"}
        )
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = time_base
        if display_matrix is not None:
            stream.set_display_matrix(display_matrix)
        for index, time in enumerate(times):
            pixels = np.full((height, width, 3), grey_of(index), dtype=np.uint8)
            if top_is_red:
                pixels[: height // 2] = (255, 0, 0)
            frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
            frame.pts, frame.time_base = time, time_base
            file.mux(stream.encode(frame))
        file.mux(stream.encode())
    return path


def break_packet(path: Path, index: int) -> None:
    """Flip every bit of one compressed frame after its length."""
    with av.open(str(path)) as file:
        packet = next(p for number, p in enumerate(file.demux(video=0)) if number == index)
        start, end = packet.pos + 5, packet.pos + packet.size
    content = bytearray(path.read_bytes())
    content[start:end] = bytes(255 - byte for byte in content[start:end])
    path.write_bytes(content)


def read_times(path: Path) -> list[float]:
    with av.open(str(path)) as file:
        return [float(frame.time) for frame in file.decode(video=0)]
