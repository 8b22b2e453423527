"""What is shown of a run that goes on."""

import io
import sys
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace

import pytest

import blitznet.training.show as show
from blitznet.training.log import LOG_FIELDS, write_rows
from blitznet.training.validation import VALIDATION_FIELDS, VALIDATION_FILE

ROW = "classification 2.000  box 0.500  segmentation 0.250  lr 1.25e-01  16.0 images/s"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def log_row(step: int) -> dict[str, float]:
    return dict(zip(LOG_FIELDS, (step, 2.0, 0.5, 0.25, 1.0, 0.5, 0.125, 16.0), strict=True))


def write_validation(run: Path, *rows: tuple[object, ...]) -> None:
    named = [dict(zip(VALIDATION_FIELDS, row, strict=True)) for row in rows]
    write_rows(run / VALIDATION_FILE, VALIDATION_FIELDS, named)


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """Seconds that `show` reads."""
    clock = SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(show, "time", SimpleNamespace(monotonic=lambda: clock.seconds))
    return clock


def test_without_a_terminal_a_line_now_and_then_tells_the_time_left_and_the_last_validation(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], clock: SimpleNamespace
) -> None:
    def rows() -> Iterator[dict[str, float]]:
        clock.seconds = 5000.0  # data is read, the network compiled
        yield log_row(1200)  # of a run that goes on
        clock.seconds += 300.0  # 1.5 s a step
        yield log_row(1400)
        write_validation(tmp_path, (1400, 0.5, "", "", "", 0.5, 60))
        clock.seconds += 346.0  # a validation counts
        yield log_row(1590)
        write_validation(
            tmp_path, (1400, 0.5, "", "", "", 0.5, 60), (1590, 0.5116, "", "", "", 0.5116, 60)
        )
        clock.seconds += 34.0
        yield log_row(1600)
        clock.seconds += 9999.0
        yield log_row(3790)

    assert show.show_training(rows(), 3790, tmp_path) == 3790
    assert capsys.readouterr().out.splitlines() == [
        f"step 1200/3790  {ROW}",
        f"step 1400/3790  {ROW}  0:59:45 left",
        f"step 1600/3790  {ROW}  val 0.512 at step 1590  1:02:03 left",
        f"step 3790/3790  {ROW}  val 0.512 at step 1590",
    ]


def test_without_a_score_no_validation_is_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], clock: SimpleNamespace
) -> None:
    write_validation(tmp_path, (100, "", "", "", "", "", 60))
    assert show.show_training(iter([log_row(200)]), 400, tmp_path) == 200
    assert capsys.readouterr().out == f"step 200/400  {ROW}\n"


@pytest.mark.parametrize(("width", "is_told"), [(200, True), (160, False)])
def test_a_terminal_tells_the_last_validation_where_it_fits(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: int, is_told: bool
) -> None:
    write_validation(tmp_path, (100, 0.5, "", "", "", 0.5, 60))
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm")
    assert show.show_training(iter([log_row(200)]), 65000, tmp_path) == 200
    assert (f"{ROW}  val 0.500 at step 100" in terminal.getvalue()) == is_told
    assert ROW in terminal.getvalue()
