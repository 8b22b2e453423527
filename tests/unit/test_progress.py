import io
import sys

import pytest

import blitznet.progress
from blitznet.progress import with_progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_nothing_is_written_where_nobody_watches(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(with_progress(range(3), 3, "pictures")) == [0, 1, 2]
    assert capsys.readouterr() == ("", "")


def test_on_a_terminal_nothing_is_written_before_the_wait_is_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    assert list(with_progress(range(3), 3, "pictures")) == [0, 1, 2]
    assert terminal.getvalue() == ""


def test_on_a_terminal_a_long_wait_gets_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(blitznet.progress, "PATIENCE_SECONDS", -1)
    assert list(with_progress(range(3), 3, "pictures")) == [0, 1, 2]
    assert "pictures" in terminal.getvalue()
    assert "3/3" in terminal.getvalue()


def test_a_bar_of_unknown_length_shows_how_many_come_in_a_second(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.setattr(blitznet.progress, "PATIENCE_SECONDS", -1)
    assert list(with_progress(range(3), None, "camera", has_speed=True)) == [0, 1, 2]
    assert "3/?" in terminal.getvalue()
    assert "/s" in terminal.getvalue()
