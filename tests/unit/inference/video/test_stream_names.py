"""The meaning of names of video sources."""

from pathlib import Path

import pytest

from blitznet.inference.sources import is_stream
from blitznet.inference.video.open_video import find_address


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("0", True),
        ("12", True),
        ("/dev/video2", True),
        ("rtsp://host/a", True),
        ("HTTPS://host/a.mp4", True),
        ("clip.mp4", False),
        ("2007", False),
        ("ftp://host/a.mp4", False),
        ("c:/videos/a.mp4", False),
    ],
)
def test_cameras_and_urls_are_known_by_their_names(name: str, expected: bool) -> None:
    assert is_stream(name) == expected


def test_a_password_is_for_the_camera_alone() -> None:
    address = find_address("rtsp://me:secret@camera.local:554/yard?channel=1")
    assert address.name == "rtsp://camera.local:554/yard?channel=1"
    assert address.target == "rtsp://me:secret@camera.local:554/yard?channel=1"
    assert (address.stem, address.is_live) == ("yard", True)
    assert address.options == {"rtsp_transport": "tcp"}


@pytest.mark.parametrize(
    ("url", "stem"),
    [
        ("http://host:8080/", "host-8080"),
        ("http://host/a/b.m3u8", "b"),
        ("http://host/%2e%2e/x y", "x-y"),
        ("http://host/..", "host"),
    ],
)
def test_results_of_a_url_are_named_by_its_path_or_host(url: str, stem: str) -> None:
    address = find_address(url.replace(" ", "%20"))
    assert address.is_live is None
    assert "/" not in address.stem
    assert address.stem.strip(".") == address.stem
    if "%" not in url and " " not in url:
        assert address.stem == stem


def test_a_camera_is_a_device_of_v4l2() -> None:
    address = find_address("1")
    assert (address.target, address.format, address.is_live) == ("/dev/video1", "v4l2", True)


def test_a_file_comes_before_a_camera_of_its_name(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("0").touch()
    address = find_address("0")
    assert (address.target, address.format, address.is_live) == ("file:0", None, False)
