"""Recordings: every frame, upright, with its time."""

import ctypes
import gc
import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from av.stream import Disposition

from blitznet.errors import InputError
from blitznet.inference.video.decoding import VideoFile
from blitznet.inference.video.open_video import open_video
from synthetic_video import break_packet, grey_of, write_video

NTSC = Fraction(30_000, 1001)


def open_file(path: Path) -> VideoFile:
    video = open_video(str(path))
    assert isinstance(video, VideoFile)
    return video


def brightness(image: object) -> float:
    return float(np.asarray(image).mean())


@pytest.mark.parametrize(
    ("times", "time_base", "rate"),
    [
        (list(range(0, 400, 40)), Fraction(1, 1000), Fraction(25)),
        ([1001 * index for index in range(10)], Fraction(1, 30_000), NTSC),
        ([0, 40, 95, 120, 200, 300, 310, 400, 480, 777], Fraction(1, 1000), Fraction(25)),
    ],
    ids=["constant", "NTSC", "variable"],
)
def test_every_frame_comes_once_with_its_time(
    tmp_path: Path, times: list[int], time_base: Fraction, rate: Fraction
) -> None:
    video = open_file(write_video(tmp_path / "a.mp4", times, time_base, rate))
    frames = list(video)
    assert [frame.time for frame in frames] == [float(time * time_base) for time in times]
    assert [frame.index for frame in frames] == list(range(10))
    assert (video.total, video.skipped, video.dropped, video.reason) == (10, 0, 0, "end")
    for frame in frames:
        assert (frame.image.mode, frame.image.size) == ("RGB", (64, 48))
        assert brightness(frame.image) == pytest.approx(grey_of(frame.index), abs=2)


def test_the_rate_is_that_of_the_file(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", [1001 * i for i in range(10)], Fraction(1, 30_000), NTSC)
    assert open_file(path).rate == NTSC


def test_times_begin_with_the_file_whatever_its_clock_says(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.ts", range(0, 400, 40), container="mpegts")
    assert [frame.time for frame in open_file(path)] == pytest.approx(np.arange(10) * 0.04)


def test_frames_without_stamps_are_a_duration_apart(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.h264", range(0, 400, 40), container="h264")
    times = [frame.time for frame in open_file(path)]
    assert len(times) == 10
    assert np.diff(times) == pytest.approx(1 / 25)


def test_a_broken_frame_is_skipped_and_counted(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", range(0, 1600, 40), size=(160, 120))
    break_packet(path, 15)
    video = open_file(path)
    frames = list(video)
    assert (len(frames), video.skipped, video.reason) == (39, 1, "end")
    assert [round(frame.time / 0.04) for frame in frames] == [*range(15), *range(16, 40)]


def test_frames_that_build_on_a_broken_one_are_counted_too(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", range(0, 1600, 40), size=(160, 120))
    break_packet(path, 10)  # a keyframe
    video = open_file(path)
    frames = list(video)
    assert len(frames) < 39
    assert len(frames) + video.skipped == 40


def test_a_file_cut_in_half_ends_where_it_is_cut(tmp_path: Path) -> None:
    path = write_video(
        tmp_path / "a.mp4", range(0, 4000, 40), options={"movflags": "faststart"}, gop=5
    )
    content = path.read_bytes()
    path.write_bytes(content[: len(content) * 2 // 3])
    video = open_file(path)
    frames = list(video)
    assert 10 < len(frames) < 90
    assert [frame.time for frame in frames] == pytest.approx(np.arange(len(frames)) * 0.04)
    assert video.reason == "cut off, it should have 100 frames"


def test_a_phones_portrait_video_is_upright(tmp_path: Path) -> None:
    turned_right = [0, 65536, 0, -65536, 0, 0, 48 << 16, 0, 1 << 30]  # as phones write it
    path = write_video(tmp_path / "a.mp4", [0], display_matrix=turned_right, top_is_red=True)
    (frame,) = open_file(path)
    assert frame.image.size == (48, 64)
    assert frame.image.getpixel((40, 32))[0] > 240  # the top has become the right side
    assert frame.image.getpixel((8, 32))[0] < 40


@pytest.mark.parametrize("is_film_default", [True, False])
def test_the_film_is_read_and_not_the_cover_before_it(
    tmp_path: Path, is_film_default: bool
) -> None:
    with av.open(str(tmp_path / "cover.mkv"), "w") as file:
        cover, film = file.add_stream("mjpeg", rate=1), file.add_stream("libx264", rate=10)
        (film if is_film_default else cover).disposition = Disposition.default
        for stream, side, pixel_format in ((cover, 48, "yuvj420p"), (film, 64, "yuv420p")):
            stream.width, stream.height, stream.pix_fmt = side, side, pixel_format
        for stream, number in ((cover, 1), (film, 5)):
            for index in range(number):
                pixels = np.full((stream.height, stream.width, 3), 9, dtype=np.uint8)
                frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                frame.pts = index
                file.mux(stream.encode(frame))
            file.mux(stream.encode())
    video = open_file(tmp_path / "cover.mkv")
    assert [frame.image.size for frame in video] == [(64, 64)] * 5


def test_an_absurd_rate_in_the_header_is_not_believed(tmp_path: Path) -> None:
    write_video(tmp_path / "a.avi", range(5), Fraction(1, 25), container="avi")
    content = (tmp_path / "a.avi").read_bytes()
    place = content.index(b"strh") + 8 + 20  # dwScale, dwRate
    (tmp_path / "a.avi").write_bytes(
        content[:place] + struct.pack("<II", 1, 2**31 - 1) + content[place + 8 :]
    )
    video = open_file(tmp_path / "a.avi")
    assert (video.rate, len(list(video))) == (25, 5)


def test_what_is_no_video_is_one_line(tmp_path: Path) -> None:
    whole = write_video(tmp_path / "whole.mp4", range(0, 400, 40)).read_bytes()
    (tmp_path / "half.mp4").write_bytes(whole[: len(whole) // 2])  # its index was at the end
    (tmp_path / "text.mp4").write_text("no video")
    (tmp_path / "empty.mp4").touch()
    with av.open(str(tmp_path / "sound.mp4"), "w") as sound:
        silence = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), "fltp", "mono")
        silence.sample_rate = 8000
        stream = sound.add_stream("aac", 8000, layout="mono")
        sound.mux(stream.encode(silence))
        sound.mux(stream.encode())
    (tmp_path / "codec.mp4").write_bytes(whole.replace(b"avc1", b"zzzz"))
    for name, reason in [
        ("codec.mp4", "holds no video stream that can be decoded"),
        ("half.mp4", "cut off before its index"),
        ("text.mp4", "not a readable video"),
        ("empty.mp4", "not a readable video"),
        ("sound.mp4", "holds no video stream"),
        ("gone.mp4", "no such file"),
    ]:
        with pytest.raises(InputError, match=reason) as caught:
            open_video(str(tmp_path / name))
        assert str(caught.value).startswith(str(tmp_path / name))
        assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    "playlist",
    [
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nhttp://127.0.0.1:9/a.ts\n#EXT-X-ENDLIST\n",
        "#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\nb.ts\n#EXT-X-ENDLIST\n",
        "ffconcat version 1.0\nfile b.ts\n",
    ],
)
@pytest.mark.parametrize("name", ["a.m3u8", "a.mp4"])
def test_a_playlist_leads_to_no_other_file(tmp_path: Path, name: str, playlist: str) -> None:
    write_video(tmp_path / "b.ts", range(0, 400, 40), container="mpegts")
    (tmp_path / name).write_text(playlist)
    with pytest.raises(InputError, match=f"{name}: not a readable video"):
        open_video(str(tmp_path / name))


@pytest.mark.skipif(not hasattr(ctypes.CDLL(None), "mallinfo2"), reason="needs glibc 2.33")
def test_a_video_that_is_not_read_to_its_end_leaves_no_memory_behind(tmp_path: Path) -> None:
    path = write_video(tmp_path / "a.mp4", range(0, 200, 40))

    def open_and_leave(number: int) -> None:
        for _ in range(number):
            video = open_file(path)
            next(iter(video))
            video.close()

    open_and_leave(50)
    before = allocated_bytes()
    open_and_leave(number := 300)
    assert (allocated_bytes() - before) / number < 60  # a packet has more than 100


def allocated_bytes() -> int:
    """Memory that C libraries of this process have allocated and not freed."""

    class Figures(ctypes.Structure):
        _fields_ = tuple((f"field_{index}", ctypes.c_size_t) for index in range(10))

    read = ctypes.CDLL(None).mallinfo2
    read.restype = Figures
    gc.collect()
    return int(read().field_7)  # uordblks
