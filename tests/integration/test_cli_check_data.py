"""`blitznet check-data`, and training that refuses or skips bad data."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest
import yaml
from PIL import Image

from blitznet.cli import main
from blitznet.data.check.check import SKIPPED_FILE
from fixtures.make_fixtures import describe, draw
from fixtures.tiny_run import read_log, tiny_recipe

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers:UserWarning")


@pytest.fixture(autouse=True)
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with data.yaml and recipe.yaml."""
    monkeypatch.chdir(tmp_path)
    draw(tmp_path / "mine")
    describe(tmp_path / "data.yaml", Path("mine"))
    Path("recipe.yaml").write_text(yaml.safe_dump(tiny_recipe().model_dump(mode="json")))
    return tmp_path


def check(*arguments: str) -> int:
    return main(["check-data", "data.yaml", "--workers", "0", *arguments])


def train(*arguments: str) -> int:
    return main(["train", "--device", "cpu", "--workers", "0", *arguments])


def damage_train_and_val() -> None:
    Path("mine/JPEGImages/000002.jpg").write_bytes(b"")
    Path("others/Annotations/000004.xml").write_text("<annotation>")


def test_sound_data_passes_with_its_counts_and_its_warnings(
    capsys: pytest.CaptureFixture[str],
) -> None:
    Image.open("mine/JPEGImages/000003.jpg").save("others/JPEGImages/000003.jpg", quality=80)
    assert check() == 0
    lines = capsys.readouterr().out.splitlines()
    assert any("images" in line and "6" in line and "5" in line for line in lines)
    assert not any(line.startswith("error: ") for line in lines)
    assert (
        "warning: others/JPEGImages/000003.jpg: looks like mine/JPEGImages/000003.jpg in train"
        in (lines)
    )
    assert lines[-1].startswith("11 images checked: 0 errors, ")


def test_errors_exit_with_1_and_are_listed_for_people_and_programs(
    capsys: pytest.CaptureFixture[str],
) -> None:
    damage_train_and_val()
    assert check() == 1
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("error: ")] == [
        "error: mine/JPEGImages/000002.jpg: the file is empty",
        "error: val, source 1, image 4: others/Annotations/000004.xml cannot be read as XML: "
        "no element found: line 1, column 12",
    ]
    assert check("--json") == 1
    report = json.loads(capsys.readouterr().out)
    assert (report["errors"], report["model"], report["data"]) == (
        2,
        "blitznet300-mobile",
        "data.yaml",
    )
    assert report["counts"]["picture"] == 1
    assert report["findings"][0] == {
        "kind": "picture",
        "error": True,
        "where": "mine/JPEGImages/000002.jpg",
        "text": "the file is empty",
        "split": "train",
        "source": 1,
        "picture": 2,
    }
    assert report["splits"]["train"]["pictures"] == 6


def test_one_split_can_be_checked_alone(capsys: pytest.CaptureFixture[str]) -> None:
    Path("others/JPEGImages/000001.jpg").unlink()
    assert check("--split", "train") == 0
    assert "6 images checked" in capsys.readouterr().out
    assert check("--split", "val") == 1
    assert check("--split", "test") == 1
    assert "no split 'test'; there are train, val" in capsys.readouterr().err


def test_an_unknown_network_is_refused(capsys: pytest.CaptureFixture[str]) -> None:
    assert check("--model", "blitznet9000") == 1
    assert "no network is called 'blitznet9000'; choose from " in capsys.readouterr().err


@pytest.mark.slow
def test_the_folder_gets_a_sheet_plots_and_the_report(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("matplotlib")
    assert check("--out", "checked") == 0
    images = ["box_sizes.png", "boxes_by_class.png", "pixels_by_class.png", "samples.png"]
    found = sorted(path.name for path in Path("checked").iterdir())
    assert found == sorted([*images, "report.json"])
    for name in images:
        with Image.open(Path("checked", name)) as image:
            assert min(image.size) > 300
    assert json.loads(Path("checked/report.json").read_text())["errors"] == 0
    assert "Contact sheet and statistics: checked" in capsys.readouterr().out
    assert check("--out", "checked") == 1
    assert "checked: not empty" in capsys.readouterr().err
    assert check("--out", "checked", "--overwrite") == 0


def test_plots_without_their_extra_name_the_command_that_installs_it(
    capsys: pytest.CaptureFixture[str], hide_package: Callable[[str], None]
) -> None:
    hide_package("matplotlib")
    assert check("--out", "checked") == 1
    assert "pip install 'blitznet[plots]'" in capsys.readouterr().err
    assert not Path("checked").exists()
    assert check() == 0


@pytest.mark.usefixtures("without_report", "without_onnx")
def test_training_refuses_errors_and_leaves_them_out_when_told_to(
    capsys: pytest.CaptureFixture[str],
) -> None:
    damage_train_and_val()
    assert train("recipe.yaml", "--data", "data.yaml") == 1
    assert "data.yaml has 2 errors, the first: mine/JPEGImages/000002.jpg: the file is empty" in (
        capsys.readouterr().err
    )
    assert not Path("runs").exists()

    arguments = ["recipe.yaml", "--data", "data.yaml", "--skip-bad", "--out", "run"]
    assert train(*arguments, "--max-minutes", "0") == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if line.startswith("skipped")] == [
        "skipped: mine/JPEGImages/000002.jpg: the file is empty",
        "skipped: val, source 1, image 4: others/Annotations/000004.xml cannot be read as XML: "
        "no element found: line 1, column 12",
    ]
    assert len(json.loads(Path("run", SKIPPED_FILE).read_text())["skipped"]) == 2
    assert train("--resume", "run") == 0  # would fail on the skipped images
    assert [row["step"] for row in read_log(Path("run"))] == ["1", "6"]
    assert json.loads(Path("run/metrics.json").read_text())["pictures"] == 4


def test_skip_bad_does_not_go_with_resume() -> None:
    assert train("--resume", "run", "--skip-bad") == 2
