"""Lines that commands print while a progress bar is shown."""

import io
import sys

import pytest
from rich.console import Console
from rich.file_proxy import FileProxy

from blitznet.cli.app import main, print_error, print_line


@pytest.mark.parametrize(
    ("option", "near"),
    [
        ("--json", None),
        ("--crop", None),
        ("--savemasks", "--save-masks"),
        ("--batch-size", "--batch"),
    ],
)
def test_only_like_options_are_suggested(
    option: str, near: str | None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["predict", "a.jpg", option]) == 2
    error = " ".join(capsys.readouterr().err.replace("│", "").split())
    suggested = f" (Possible options: {near})" if near else ""
    assert f"No such option: {option}{suggested} ╰" in error


@pytest.mark.parametrize(("stream", "say"), [("stdout", print_line), ("stderr", print_error)])
def test_a_line_beside_a_bar_goes_through_the_bar(
    stream: str, say: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Rich prints the line above its bar; printed directly, it would end up in the bar's line."""
    assert callable(say)
    above, past = io.StringIO(), io.TextIOWrapper(io.BytesIO(), encoding="utf-8")
    proxy = FileProxy(Console(file=above, force_terminal=True, width=80), past)
    monkeypatch.setattr(sys, stream, proxy)
    say("one line")
    assert "one line\n" in above.getvalue()
    past.flush()
    assert past.buffer.getvalue() == b""  # type: ignore[attr-defined]
