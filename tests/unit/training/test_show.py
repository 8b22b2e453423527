"""Messages of a run in progress."""

import io
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

import blitznet.training.show as show
from blitznet.data.check.check_report import CheckReport, SplitStatistics
from blitznet.data.check.image_check import ImageRecord
from blitznet.data.labels import Problem
from blitznet.training.log import LOG_FIELDS, write_rows
from blitznet.training.loop import Steps
from blitznet.training.network import KnownClasses
from blitznet.training.validation import VALIDATION_FIELDS, VALIDATION_FILE
from fixtures.tiny_run import TINY, tiny_recipe

LOSSES = "class 2.000 box 0.500 seg 0.250"
ROW = f"{LOSSES}  16.0 images/s  lr 1.25e-01"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def log_row(step: int) -> dict[str, float]:
    return dict(zip(LOG_FIELDS, (step, 2.0, 0.5, 0.25, 1.0, 0.5, 0.125, 16.0), strict=True))


def write_validation(run: Path, *rows: tuple[object, ...]) -> None:
    named = [dict(zip(VALIDATION_FIELDS, row, strict=True)) for row in rows]
    write_rows(run / VALIDATION_FILE, VALIDATION_FIELDS, named)


def described(records: list[ImageRecord], **model: bool) -> list[str]:
    """The summary of a run on these images, with one finding of each severity."""
    findings = [Problem("picture", "a.jpg", "bad"), Problem("void-maps", "d, train", "x", False)]
    statistics = {"train": SplitStatistics(["background", "cat"], records)}
    recipe = tiny_recipe(model=TINY.model_copy(update=model))
    report = CheckReport("d", None, findings, statistics)
    known = KnownClasses(["cat"], ["cat"])
    return show.describe_start(recipe, report, known, known, torch.device("cpu"), "fp32")


def test_the_summary_has_the_warnings_of_the_data() -> None:
    assert [line for line in described([]) if "warning" in line] == ["  warning: d, train: x"]


@pytest.mark.parametrize(
    ("pixels", "why"),
    [
        (None, "no image has a segmentation map"),
        ({0: 9, 255: 9}, "no map shows a class"),
        ({0: 9, 1: 9}, "the recipe has no other"),
    ],
)
def test_the_summary_says_why_there_is_one_head(pixels: dict[int, int] | None, why: str) -> None:
    records = [ImageRecord("train", 1, 0, pixels=pixels, num_ignored=1)]
    assert f"Network: tiny, 64 pixels, detection head only, because {why}" in described(
        records, segment=False
    )
    assert (
        "Network: tiny, 64 pixels, segmentation head only, because all boxes are ignored"
        in described(records, detect=False)
    )


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> SimpleNamespace:
    """A fake clock for `show`."""
    clock = SimpleNamespace(seconds=0.0)
    monkeypatch.setattr(show, "time", SimpleNamespace(monotonic=lambda: clock.seconds))
    return clock


def show_rows(rows: list[dict[str, float]], total: int, run: Path) -> list[str]:
    """The lines shown for a run with these rows."""
    lines: list[str] = []
    steps = [(int(row["step"]), row) for row in rows]
    show.show_training(steps, total, run, show.ProgressReporter(lines.append))
    return lines


def test_without_a_terminal_the_first_and_the_last_row_are_told(
    tmp_path: Path, clock: SimpleNamespace
) -> None:
    rows = [log_row(step) for step in (20, 40, 60)]
    assert show_rows(rows, 60, tmp_path) == [f"step 20/60  {ROW}", f"step 60/60  {ROW}"]
    for row in rows:  # no detection head
        row["classification"] = row["box"] = 0.0
    assert len(show_rows(rows, 60, tmp_path)) == 2


def test_between_them_every_step_is_ready_to_be_told_with_the_time_left(
    tmp_path: Path, clock: SimpleNamespace
) -> None:
    reporter, said = show.ProgressReporter(lambda _: None), []

    def steps() -> Steps:
        clock.seconds = 5000.0  # data is read, the network compiled
        yield 1200, None  # of a resumed run
        clock.seconds += 300.0  # 1.5 s a step
        yield 1400, None
        said.append(reporter.doing)

    assert show.show_training(steps(), 3790, tmp_path, reporter) == 1400
    assert said == ["step 1400/3790    0:59:45 left"]


def test_the_newest_validation_is_told_if_it_has_a_score(
    tmp_path: Path, clock: SimpleNamespace
) -> None:
    write_validation(tmp_path, (100, "", "", "", "", "", 60))
    assert show_rows([log_row(200)], 200, tmp_path) == [f"step 200/200  {ROW}"]
    write_validation(tmp_path, (150, 0.5116, "", "", "", 0.5116, 60))
    (line,) = show_rows([log_row(200)], 200, tmp_path)
    assert line.startswith(f"step 200/200  {LOSSES}  val 0.512 at step 150  16.0")


@pytest.mark.parametrize(("width", "is_told"), [(200, True), (80, False)])
def test_a_terminal_of_80_columns_shows_step_total_and_losses(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, width: int, is_told: bool
) -> None:
    write_validation(tmp_path, (100, 0.5, "", "", "", 0.5, 60))
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", str(width))
    monkeypatch.setenv("TERM", "xterm")
    assert show_rows([log_row(200)], 65000, tmp_path) == []
    shown = terminal.getvalue()
    assert "200/65000" in shown
    assert LOSSES in shown
    assert ("val 0.500 at step 100" in shown) == is_told


def test_a_bar_says_what_is_done_before_the_first_step_and_then_the_time_left(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, clock: SimpleNamespace
) -> None:
    terminal, reporter = Terminal(), show.ProgressReporter(lambda _: None)
    monkeypatch.setattr(sys, "stderr", terminal)
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("TERM", "xterm")
    reporter.doing = "preparing the first step"

    def steps() -> Steps:
        assert reporter.has_bar  # which replaces the lines
        for step in (1, 2):  # a step takes more than the half minute that rich looks back
            clock.seconds += 60.0
            yield step, log_row(step)

    show.show_training(steps(), 1000, tmp_path, reporter)
    shown = terminal.getvalue()
    assert not reporter.has_bar
    assert "0/1000" in shown
    assert "preparing the first step" in shown
    assert f"{LOSSES} 16:38:00 left" in shown
