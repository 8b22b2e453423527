"""The command predict on videos, live sources and watched folders."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest
from PIL import Image

import blitznet.extras
import blitznet.inference.watch_folder
from blitznet.cli import main
from result_files import files_in, read_records
from synthetic_video import break_packet, read_times, write_video
from web_server import QuietHandler, serve

RUN_FILES = ["predictions.jsonl", "settings.json", "videos.json"]
VARIABLE = [0, 40, 95, 120, 200, 300, 310, 400, 480, 777]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with a video and an image."""
    monkeypatch.chdir(tmp_path)
    write_video(Path("clip.mp4"), VARIABLE)
    Image.new("RGB", (40, 30), "red").save("a.png")
    return tmp_path


def predict(checkpoint: str, *arguments: str) -> int:
    return main(["predict", "--model", checkpoint, "--device", "cpu", "--out", "out", *arguments])


def videos() -> list[dict[str, Any]]:
    listed: list[dict[str, Any]] = json.loads(Path("out/videos.json").read_text())
    return listed


@pytest.mark.usefixtures("here")
def test_a_video_gives_a_video_of_the_same_times_and_a_line_for_every_frame(
    checkpoint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict(checkpoint, "clip.mp4", "--score", "0.2") == 0
    assert files_in("out") == ["clip.mp4", *RUN_FILES]
    times = [time / 1000 for time in VARIABLE]
    assert read_times(Path("out/clip.mp4")) == times
    with av.open("out/clip.mp4") as drawn:
        stream = drawn.streams.video[0]
        assert (stream.width, stream.height, len(drawn.streams)) == (64, 48, 1)
    lines = read_records("out")
    assert [line["time"] for line in lines] == times
    assert [line["frame"] for line in lines] == list(range(10))
    wanted = "source frame time width height detections pixels seg_map drawn ms"
    assert " ".join(lines[0]) == wanted
    assert all(line["source"] == "clip.mp4" and line["width"] == 64 for line in lines)
    (video,) = videos()
    assert video.pop("frames_per_second") > 0
    assert video == {
        "source": "clip.mp4", "drawn": "clip.mp4", "live": False, "frames": 10, "skipped": 0,
        "dropped": 0, "reconnects": 0, "last_time": 0.777, "ended": "end",
    }  # fmt: skip
    output = capsys.readouterr()
    assert output.err == ""
    assert output.out.startswith("clip.mp4: 10 frames; ")
    assert output.out.endswith("1 of 1 videos done, results in out\n")


@pytest.mark.usefixtures("here")
def test_images_and_videos_stand_in_one_list(
    checkpoint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    Path("b").mkdir()
    write_video(Path("b/clip.mp4"), VARIABLE)
    sources = ("a.png", "clip.mp4", "b/clip.mp4", "a.png")
    assert predict(checkpoint, *sources, "--save-masks", "--max-frames", "3", "--every", "2") == 0
    named = [line["source"] for line in read_records("out")]
    assert named == ["a.png", *["clip.mp4"] * 3, *[str(Path("b/clip.mp4"))] * 3]
    frames = [0, 2, 4]
    masks = [f"masks/{name}/{frame:06}.png" for name in ("clip", "b/clip") for frame in frames]
    drawn = ["a.jpg", "clip.mp4", "b/clip.mp4", "masks/a.png"]
    assert files_in("out") == sorted([*drawn, *masks, *RUN_FILES])
    assert read_times(Path("out/b/clip.mp4")) == [VARIABLE[frame] / 1000 for frame in frames]
    for line in read_records("out"):
        with Image.open(Path("out") / line["seg_map"]) as mask:
            assert mask.size == (line["width"], line["height"])
    assert capsys.readouterr().out.endswith(
        "1 of 1 images and 2 of 2 videos done, results in out\n"
    )


@pytest.mark.usefixtures("here")
def test_without_drawing_there_are_lines_alone_and_with_tracking_identities(
    checkpoint: str,
) -> None:
    assert predict(checkpoint, "clip.mp4", "--no-draw", "--track", "--score", "0.2") == 0
    assert files_in("out") == RUN_FILES
    assert videos()[0]["drawn"] is None
    lines = read_records("out")
    assert all("id" in found for line in lines for found in line["detections"])
    assert any(found["id"] for line in lines for found in line["detections"])


@pytest.mark.usefixtures("here")
def test_broken_frames_and_broken_videos_are_told_and_the_rest_is_done(
    checkpoint: str, capsys: pytest.CaptureFixture[str]
) -> None:
    write_video(Path("broken.mp4"), range(0, 1600, 40), size=(160, 120))
    break_packet(Path("broken.mp4"), 15)
    Path("text.mp4").write_text("no video")
    assert predict(checkpoint, "broken.mp4", "text.mp4", "clip.mp4", "--no-draw") == 1
    output = capsys.readouterr()
    assert output.err == "blitznet: text.mp4: not a readable video, or cut off before its index\n"
    assert output.out.startswith("broken.mp4: 39 frames, 1 broken ones skipped; ")
    assert "2 of 3 videos done" in output.out
    assert [(video["frames"], video["skipped"]) for video in videos()] == [(39, 1), (10, 0)]


@pytest.mark.usefixtures("here")
def test_what_cannot_work_is_one_line_before_anything_is_written(
    checkpoint: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(blitznet.extras, "find_spec", lambda _: None)
    for arguments, part in [
        (["clip.mp4"], "pip install 'blitznet[video]'"),
        (["a.png", "--track"], "pip install 'blitznet[track]'"),
        (["clip.mp4", "--format", "yolo"], "--format writes labels for images"),
        (["a.png", "--watch"], "--watch takes one folder, got a.png"),
    ]:
        assert predict(checkpoint, *arguments) == 1
        assert part in capsys.readouterr().err
    assert not Path("out").exists()


def test_a_watched_folder_is_done_when_nothing_comes_any_more(
    here: Path,
    checkpoint: str,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(blitznet.inference.watch_folder, "PERIOD", 0.02)
    monkeypatch.setattr(blitznet.inference.watch_folder, "PATIENCE", 0.1)
    assert predict(checkpoint, ".", "--watch", "--idle-seconds", "0.1") == 0
    assert [line["source"] for line in read_records("out")] == ["a.png"]
    assert "1 of 1 images done" in capsys.readouterr().out
    (here / "out" / "bad.jpg").write_text("no image")
    command = ["predict", "out", "--watch", "--idle-seconds", "0.1", "--model", checkpoint]
    assert main([*command, "--out", "out", "--overwrite"]) == 1
    assert "a watched folder cannot take the results" in capsys.readouterr().err
    assert main([*command, "--out", "more"]) == 1
    output = capsys.readouterr()
    assert "bad.jpg: not an image" in output.err
    assert "1 of 2 images done" in output.out


def start(checkpoint: str, *arguments: str) -> "subprocess.Popen[str]":
    command = [sys.executable, "-m", "blitznet", "predict", "--model", checkpoint, "--out", "out"]
    return subprocess.Popen(
        [*command, *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        # A shell's background jobs ignore Ctrl-C, and their children inherit that.
        preexec_fn=lambda: signal.signal(signal.SIGINT, signal.SIG_DFL),
    )


def wait_for_lines(minimum: int) -> None:
    """Wait until there are so many predictions."""
    deadline = time.monotonic() + 250
    while time.monotonic() < deadline:
        with suppress(FileNotFoundError):
            if Path("out/predictions.jsonl").read_bytes().count(b"\n") >= minimum:
                return
        time.sleep(0.05)
    raise AssertionError("no results came")


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for one process")
@pytest.mark.usefixtures("here")
@pytest.mark.parametrize(
    ("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 130), (signal.SIGKILL, -9)]
)
def test_a_recording_that_is_broken_off_keeps_its_lines_and_begins_again(
    checkpoint: str, number: int, code: int
) -> None:
    write_video(Path("long.mp4"), range(0, 240_000, 40), gop=250)
    process = start(checkpoint, "long.mp4", "--max-frames", "5000")
    wait_for_lines(3)
    process.send_signal(number)
    _, errors = process.communicate(timeout=250)
    assert process.returncode == code
    if number != signal.SIGKILL:
        assert errors.splitlines()[-1].startswith(
            "blitznet: stopped: 0 of 1 videos done, results in"
        )
        assert files_in("out") == RUN_FILES[:2]
    assert [line["frame"] for line in read_records("out")][:3] == [0, 1, 2]
    command = ["--max-frames", "5", "--resume", "--mixed"]
    again = start(checkpoint, "long.mp4", *command)
    again.communicate(timeout=250)
    assert again.returncode == 0
    assert [line["frame"] for line in read_records("out")] == [0, 1, 2, 3, 4]
    assert files_in("out") == ["long.mp4", *RUN_FILES]


@pytest.fixture
def endless() -> Iterator[str]:
    """The URL of an endless stream."""

    class Handler(QuietHandler):
        def do_GET(self) -> None:  # noqa: N802
            self.send_response(200)
            self.end_headers()
            with (
                suppress(OSError, av.error.FFmpegError),
                av.open(self.wfile, "w", format="mpegts") as file,
            ):
                stream = file.add_stream("libx264", rate=25, options={"tune": "zerolatency"})
                stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
                for index in range(10**6):
                    pixels = np.full((48, 64, 3), index % 256, dtype=np.uint8)
                    frame = av.VideoFrame.from_ndarray(pixels, format="rgb24")
                    frame.pts = index
                    file.mux(stream.encode(frame))
                    time.sleep(0.005)

    with serve(Handler) as address:
        yield f"{address}yard"


@pytest.mark.slow
@pytest.mark.timeout(900)
@pytest.mark.skipif(os.name == "nt", reason="Windows has no SIGINT for one process")
@pytest.mark.usefixtures("here")
@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_ctrl_c_is_the_way_to_end_a_live_source(checkpoint: str, endless: str, number: int) -> None:
    process = start(checkpoint, endless)
    wait_for_lines(20)
    process.send_signal(number)
    output, errors = process.communicate(timeout=250)
    assert (process.returncode, errors) == (0, "")
    assert files_in("out") == [*RUN_FILES, "yard.mp4"]
    (video,) = videos()
    assert (video["live"], video["ended"]) == (True, "asked to stop")
    assert video["dropped"] > 0
    assert f"{video['dropped']} dropped" in output
    times = [line["time"] for line in read_records("out")]
    assert len(times) == video["frames"] > 10
    assert read_times(Path("out/yard.mp4")) == pytest.approx(times, abs=1e-6)
