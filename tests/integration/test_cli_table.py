"""The command table in a folder without data and results."""

import json
from pathlib import Path

import pytest

from blitznet.cli import main
from blitznet.paper.tables import read_experiments
from fixtures.table_results import record


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "80")


@pytest.mark.parametrize("number", range(1, 9))
def test_every_table_shows_the_paper_and_what_is_not_run(
    number: int, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["table", str(number)]) == 0
    out = capsys.readouterr().out
    assert out.startswith(f"Table {number}: ")
    assert " - " in out
    shown = "79.1 83.8 72.8 75.7 53.5 55.1 19.5 76.1".split()  # noqa: SIM905
    assert shown[number - 1] in out
    assert "…" not in out  # no word is cut
    rows = [line for line in out.splitlines() if line.startswith("│")]
    assert rows
    assert all(row.endswith("│") for row in rows)


def test_every_class_is_shown_however_narrow_the_terminal(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["table", "1", "--per-class"]) == 0
    out = capsys.readouterr().out
    assert "…" not in out
    assert "tvmonitor" in out
    assert "77.6 │      79.2 │    84.0" in out


def test_json_holds_our_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    record(tmp_path / "own", read_experiments()["voc12-blitznet300-both"], 0, 0.5, 0.6)
    assert main(["table", "3", "--results", "own", "--json"]) == 0
    content = json.loads(capsys.readouterr().out)
    assert content["blocks"][0]["rows"][1]["ours"]["mIoU"]["mean"] == pytest.approx(60)


def test_a_table_that_is_not_there_gets_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["table", "9"]) == 1
    line = "blitznet: the paper has no table 9; give a number from 1 to 8\n"
    assert capsys.readouterr().err == line


def test_a_table_is_a_number() -> None:
    assert main(["table", "three"]) == 2
