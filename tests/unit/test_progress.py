import io
import sys

import pytest

import blitznet.progress
from blitznet.progress import with_progress


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_nothing_is_written_where_nobody_watches(capsys: pytest.CaptureFixture[str]) -> None:
    assert list(with_progress(range(3), 3, "images")) == [0, 1, 2]
    assert capsys.readouterr() == ("", "")


def watch(monkeypatch: pytest.MonkeyPatch) -> Terminal:
    """Standard error. Not in a fixture: pytest puts its own back between setup and call."""
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("TERM", "xterm")
    return terminal


def test_on_a_terminal_nothing_is_written_before_the_wait_is_long(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    terminal = watch(monkeypatch)
    assert list(with_progress(range(3), 3, "images")) == [0, 1, 2]
    assert terminal.getvalue() == ""


@pytest.mark.parametrize(("total", "shown"), [(3, ["images", "3/3"]), (None, ["3/?", "/s"])])
def test_on_a_terminal_a_long_wait_gets_a_bar(
    total: int | None, shown: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    terminal = watch(monkeypatch)
    monkeypatch.setattr(blitznet.progress, "PATIENCE_SECONDS", -1)
    assert list(with_progress(range(3), total, "images")) == [0, 1, 2]
    assert all(part in terminal.getvalue() for part in shown)
