"""Written videos: timestamps, sizes, colours, and complete or missing."""

from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from blitznet.errors import InputError
from blitznet.inference.video.decoding import Frame
from blitznet.inference.video.predict_video import video_writer
from synthetic_video import read_times

COLOUR = (200, 30, 60)


def write(
    path: Path,
    times: list[int],
    time_base: Fraction = Fraction(1, 1000),
    size: tuple[int, int] = (64, 48),
    pixel_shape: Fraction = Fraction(1),
    is_endless: bool = False,
) -> None:
    image = Image.new("RGB", size, COLOUR)
    first = Frame(image, 0, times[0], time_base)
    with video_writer(path, first, Fraction(25), pixel_shape, is_endless) as add:
        for time in times:
            add(image, time)


@pytest.mark.parametrize("is_endless", [False, True])
@pytest.mark.parametrize(
    ("times", "time_base"),
    [
        (list(range(0, 400, 40)), Fraction(1, 1000)),
        ([0, 40, 95, 120, 777], Fraction(1, 1000)),
        ([500, 540, 595], Fraction(1, 1000)),
        (list(range(12)), Fraction(1001, 30_000)),
        ([3600 * k for k in (0, 1, 5)], Fraction(1, 90_000)),
    ],
    ids=["constant", "variable", "late", "NTSC", "90 kHz"],
)
def test_frames_are_shown_when_they_were(
    tmp_path: Path, times: list[int], time_base: Fraction, is_endless: bool
) -> None:
    write(tmp_path / "a.mp4", times, time_base, is_endless=is_endless)
    assert read_times(tmp_path / "a.mp4") == [float(time * time_base) for time in times]


@pytest.mark.parametrize("size", [(64, 48), (63, 47), (64, 47), (1280, 720)])
def test_size_and_colour_are_those_of_the_image(tmp_path: Path, size: tuple[int, int]) -> None:
    write(tmp_path / "a.mp4", [0, 40], size=size)
    with av.open(str(tmp_path / "a.mp4")) as file:
        image = next(file.decode(video=0)).to_image()
    assert image.size == size
    assert np.asarray(image)[5, 5] == pytest.approx(np.array(COLOUR), abs=4)


def test_pixels_that_are_not_square_stay_so(tmp_path: Path) -> None:
    write(tmp_path / "a.mp4", [0], pixel_shape=Fraction(16, 11))
    with av.open(str(tmp_path / "a.mp4")) as file:
        assert file.streams.video[0].sample_aspect_ratio == Fraction(16, 11)


def test_a_frame_of_another_size_is_fitted(tmp_path: Path) -> None:
    first = Frame(Image.new("RGB", (64, 48)), 0, 0, Fraction(1, 25))
    with video_writer(tmp_path / "a.mp4", first, Fraction(25), Fraction(1), False) as add:
        add(first.image, 0)
        add(Image.new("RGB", (30, 90)), 1)
    assert len(read_times(tmp_path / "a.mp4")) == 2


def test_a_break_leaves_nothing(tmp_path: Path) -> None:
    first = Frame(Image.new("RGB", (64, 48)), 0, 0, Fraction(1, 25))
    writer = video_writer(tmp_path / "a.mp4", first, Fraction(25), Fraction(1), False)
    with pytest.raises(ZeroDivisionError), writer as add:
        add(first.image, 1 // 0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("is_endless", [False, True])
def test_what_a_killed_process_leaves_can_be_played(tmp_path: Path, is_endless: bool) -> None:
    image = Image.new("RGB", (64, 48))
    first = Frame(image, 0, 0, Fraction(1, 25))
    writer = video_writer(tmp_path / "a.mp4", first, Fraction(25), Fraction(1), is_endless)
    with writer as add:
        for time in range(300):
            add(image, time)
        (part,) = tmp_path.iterdir()
        copy = tmp_path / "copy.mp4"
        copy.write_bytes(part.read_bytes())
    assert 50 <= len(read_times(copy)) <= 300
    assert len(read_times(tmp_path / "a.mp4")) == 300


def test_a_folder_that_is_not_there_is_one_line(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be written"):
        write(tmp_path / "gone" / "a.mp4", [0])
