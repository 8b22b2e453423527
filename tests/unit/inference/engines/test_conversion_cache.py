import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from blitznet.cache import cache_folder
from blitznet.inference.engines import conversion_cache
from blitznet.inference.engines.conversion_cache import (
    find_converted,
    fingerprint,
    forget_converted,
    keep_converted,
    read_cached,
)
from tiny_network import tiny_model


@pytest.fixture(autouse=True)
def _cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLITZNET_CACHE", str(tmp_path / "cache"))


class Conversion:
    def __init__(self) -> None:
        self.calls = 0

    def __call__(self, folder: Path) -> None:
        self.calls += 1
        (folder / "network").write_text(str(self.calls))


def test_a_network_is_converted_once_and_that_is_told() -> None:
    convert, lines = Conversion(), list[str]()
    first = keep_converted("onnx-1", convert, tell=lines.append)
    second = keep_converted("onnx-1", convert, tell=lines.append)
    assert first == second == find_converted("onnx-1")
    assert (second / "network").read_text() == "1"
    assert lines == ["converting the network to onnx, which is kept for next time"]


def test_replacing_and_forgetting_convert_again() -> None:
    convert = Conversion()
    keep_converted("a", convert)
    assert (keep_converted("a", convert, replace=True) / "network").read_text() == "2"
    forget_converted("a")
    assert find_converted("a") is None
    assert (keep_converted("a", convert) / "network").read_text() == "3"


def test_a_conversion_that_fails_leaves_nothing() -> None:
    def fail(folder: Path) -> None:
        (folder / "half").write_text("")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        keep_converted("a", fail)
    assert find_converted("a") is None
    assert list((cache_folder() / "networks").iterdir()) == []


def test_what_cannot_be_read_any_more_is_converted_again() -> None:
    def read(folder: Path) -> str:
        text = (folder / "network").read_text()
        if text == "damaged":
            raise RuntimeError("damaged")
        return text

    convert = Conversion()
    assert read_cached("a", convert, read) == "1"
    assert read_cached("a", convert, read) == "1"
    (keep_converted("a", convert) / "network").write_text("damaged")
    assert read_cached("a", convert, read) == "2"


@pytest.mark.slow
def test_the_next_conversion_removes_what_a_killed_one_left_but_not_what_is_being_made() -> None:
    program = (
        "import time\n"
        "from blitznet.inference.engines.conversion_cache import keep_converted\n"
        "keep_converted('killed', lambda folder: time.sleep(100))\n"
    )
    networks = cache_folder() / "networks"
    with subprocess.Popen([sys.executable, "-c", program]) as process:
        while not list(networks.glob(".blitznet-*.part")):
            time.sleep(0.05)
        keep_converted("a", Conversion())
        assert len(list(networks.glob(".blitznet-*"))) == 2  # the other's folder and its lock
        process.send_signal(signal.SIGKILL)
    keep_converted("a", Conversion())  # which is there: nothing to convert
    assert len(list(networks.glob(".blitznet-*"))) == 2
    keep_converted("b", Conversion())
    assert sorted(path.name for path in networks.iterdir()) == ["a", "b"]


def test_what_was_left_without_a_lock_is_removed_too() -> None:
    networks = cache_folder() / "networks"
    (networks / ".blitznet-1.part").mkdir(parents=True)
    (networks / ".blitznet-2.part.lock").touch()
    keep_converted("a", Conversion())
    assert [path.name for path in networks.iterdir()] == ["a"]


def test_of_two_processes_the_first_one_wins() -> None:
    def slow(folder: Path) -> None:
        (folder / "network").write_text("slow")
        keep_converted("a", Conversion())

    assert (keep_converted("a", slow) / "network").read_text() == "1"


def test_where_the_cache_cannot_be_written_this_process_keeps_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").write_text("no folder")
    monkeypatch.setenv("BLITZNET_CACHE", str(tmp_path / "file"))
    folder = keep_converted("a", Conversion())
    assert (folder / "network").read_text() == "1"
    assert find_converted("a") is None


def test_a_change_of_weights_architecture_purpose_or_version_is_another_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    model = tiny_model()
    keys = [fingerprint(model, "onnx", ("onnx",)), fingerprint(model, "openvino", ("onnx",))]
    assert fingerprint(tiny_model(), "onnx", ("onnx",)) == keys[0]
    with torch.no_grad():
        next(model.parameters())[0, 0, 0, 0] += 1e-3
    keys.append(fingerprint(model, "onnx", ("onnx",)))
    keys.append(fingerprint(tiny_model(mean=(0.5, 0.5, 0.5)), "onnx", ("onnx",)))
    monkeypatch.setattr(conversion_cache, "version", lambda _: "99")
    keys.append(fingerprint(tiny_model(), "onnx", ("onnx",)))
    assert len(set(keys)) == 5


def test_the_cache_is_where_the_user_or_the_platform_says(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert cache_folder() == tmp_path / "cache"
    monkeypatch.delenv("BLITZNET_CACHE")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert cache_folder() == tmp_path / "blitznet"
    monkeypatch.delenv("XDG_CACHE_HOME")
    for platform, expected in {
        "linux": Path.home() / ".cache",
        "darwin": Path.home() / "Library" / "Caches",
        "win32": Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local"),
    }.items():
        monkeypatch.setattr("sys.platform", platform)
        assert cache_folder() == expected / "blitznet"
