"""Live sources: the latest frame, dropped frames, lost connections and ends."""

import time
from collections.abc import Iterator
from itertools import pairwise
from pathlib import Path

import av
import pytest
from av.container import InputContainer

import blitznet.inference.video.live_video
from blitznet.errors import InputError
from blitznet.inference.video.decoding import VideoFile
from blitznet.inference.video.live_video import LiveVideo
from blitznet.inference.video.open_video import open_video
from synthetic_video import write_video
from web_server import QuietHandler, serve


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blitznet.inference.video.live_video, "FIRST_PAUSE", 0.01)


def fast_source(num_frames: int) -> InputContainer:
    """Frames without delay, much faster than any network."""
    return av.open(f"testsrc=size=32x32:rate=25:duration={num_frames / 25}", format="lavfi")


def gone() -> InputContainer:
    raise InputError("gone")


def test_a_slow_consumer_gets_the_latest_frames_and_the_others_are_counted() -> None:
    video = LiveVideo(fast_source(500), gone, "camera", "camera", attempts=0)
    frames = []
    for frame in video:
        frames.append(frame)
        time.sleep(0.05)
    assert len(frames) + video.dropped == 500
    assert video.dropped > 250
    assert (video.skipped, video.reconnects, video.reason) == (0, 0, "lost (it ended)")
    assert [frame.index for frame in frames] == list(range(len(frames)))
    assert frames[0].time == 0
    assert all(a.pts < b.pts for a, b in pairwise(frames))


def test_a_lost_source_is_asked_for_again_and_given_up_in_the_end() -> None:
    asked = []

    def reopen() -> InputContainer:
        asked.append(time.monotonic())
        if len(asked) in (1, 4):
            return fast_source(5)
        raise InputError("gone")

    video = LiveVideo(fast_source(5), reopen, "camera", "camera", attempts=3)
    assert 3 <= len(list(video)) + video.dropped <= 15
    assert len(asked) == 7  # back, two in vain and back, three in vain
    assert (video.reconnects, video.reason) == (2, "lost (it ended)")


def test_the_pauses_between_attempts_grow(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(blitznet.inference.video.live_video, "FIRST_PAUSE", 0.05)
    asked = [time.monotonic()]

    def reopen() -> InputContainer:
        asked.append(time.monotonic())
        return gone()

    list(LiveVideo(fast_source(1), reopen, "camera", "camera", attempts=3))
    assert asked[2] - asked[1] >= 0.1
    assert asked[3] - asked[2] >= 0.2


def test_an_endless_source_stops_when_it_is_asked_to() -> None:
    video = LiveVideo(fast_source(10**8), gone, "camera", "camera", attempts=5)
    frames = iter(video)
    next(frames)
    video.should_stop = lambda: True
    assert list(frames) == []
    assert video.reason == "asked to stop"
    video.close()
    assert not video._thread.is_alive()


def test_closing_ends_the_thread_even_before_it_began() -> None:
    for take in (0, 1):
        video = LiveVideo(fast_source(10**8), gone, "camera", "camera", attempts=5)
        for _ in zip(range(take), video, strict=False):
            pass
        video.close()
        assert not video._thread.is_alive()


@pytest.fixture
def server(tmp_path: Path) -> Iterator[str]:
    """/live streams a second of video without saying how long it is, twice; /file is a file."""
    live = write_video(tmp_path / "a.ts", range(0, 1000, 40), container="mpegts").read_bytes()
    file = write_video(tmp_path / "a.mp4", range(0, 1000, 40)).read_bytes()
    served = []

    class Handler(QuietHandler):
        def do_GET(self) -> None:  # noqa: N802
            if self.path == "/live" and len(served) == 2:
                self.send_error(404)
                return
            self.send_response(200)
            if self.path == "/live":
                served.append(self.path)
            else:
                self.send_header("Content-Length", str(len(file)))
            self.end_headers()
            self.wfile.write(live if self.path == "/live" else file)

    with serve(Handler) as address:
        yield address


def test_a_stream_over_http_comes_back_once_and_then_ends(server: str) -> None:
    video = open_video(f"{server}live", attempts=2)
    assert isinstance(video, LiveVideo)
    frames = list(video)
    assert len(frames) + video.dropped == 50
    assert video.reconnects == 1
    assert video.reason.startswith("lost")
    assert frames[0].image.size == (64, 48)


def test_a_file_over_http_is_a_recording(server: str) -> None:
    video = open_video(f"{server}file")
    assert isinstance(video, VideoFile)
    assert len(list(video)) == 25
    video.close()


def test_an_address_where_nothing_answers_is_one_line(server: str) -> None:
    with pytest.raises(InputError, match=r"^http://127\.0\.0\.1:9/x: cannot be opened"):
        open_video("http://me:secret@127.0.0.1:9/x")
    with pytest.raises(InputError, match="no such file, camera or address"):
        open_video("99")
