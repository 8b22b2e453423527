"""Training a table's missing experiments: order, interruptions, kept files; takes seconds."""

import dataclasses
import json
from pathlib import Path

import pytest

from blitznet.errors import InputError
from blitznet.paper.table_report import read_results
from blitznet.paper.tables import Column, Experiment, find_table
from fixtures.make_fixtures import describe
from fixtures.table_results import record
from fixtures.tiny_run import tiny_recipe
from train_table import choose_experiments, missing_jobs, train_missing

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers:UserWarning")

AP = Column("mAP", "val", ("mean_ap", "voc12"), ("cat", "dog"))
IOU = Column("mIoU", "train", ("mean_iou",))


def tiny_experiment(name: str = "tiny-both") -> Experiment:
    recipe = tiny_recipe(steps=2, warmup_steps=1).model_dump()
    return Experiment(
        name=name,
        source="Table 3, row 2",
        data="tiny",
        columns=(AP, IOU),
        seeds=(0, 1),
        is_twin=True,
        changes=recipe | {"model": recipe["model"] | {"base": "blitznet300"}},
    )


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with data/tiny.yaml."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    describe(tmp_path / "data/tiny.yaml")
    return tmp_path


def run(experiment: Experiment, max_minutes: float | None = None) -> bool:
    """Train; return whether everything is finished."""
    return train_missing([experiment], Path("results"), [0], "cpu", 0, max_minutes)


@pytest.mark.slow
def test_an_interrupted_run_continues_and_is_measured_once(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment = tiny_experiment()
    unfinished = "tiny-both, seed 0: not finished; the same command continues it"
    assert not run(experiment, max_minutes=0)
    assert unfinished in capsys.readouterr().out
    assert not (workplace / "results").exists()
    assert (workplace / "runs/table/tiny-both/seed-0/state.safetensors").is_file()

    assert run(experiment)
    assert capsys.readouterr().out.endswith("tiny-both, seed 0: done\n")
    folder = workplace / "results/subset/tiny-both/seed-0"
    files = {path.name for path in folder.iterdir()}
    assert files == {"val.json", "train.json", "run.json", "log.csv", "validation.csv"}
    metrics = json.loads((folder / "val.json").read_text())
    assert metrics["classes"] == ["cat", "dog"]
    results, problems = read_results(Path("results"), experiment)
    assert (results[0]["val"], problems) == (metrics, [])
    text = (folder / "run.json").read_text()
    assert str(workplace) not in text, "what is committed names no folder of this machine"
    assert json.loads(text)["training"]["steps"] == 2
    assert json.loads(text)["recipe"]["seed"] == 0

    assert run(experiment)
    assert capsys.readouterr().out == ""
    changes = {**experiment.changes, "lr": 0.5}
    with pytest.raises(InputError, match=r"seed-0 is another run: it was trained with lr 0.001"):
        run(dataclasses.replace(experiment, changes=changes))


def test_first_seeds_of_all_come_before_second_seeds(tmp_path: Path) -> None:
    a, b = tiny_experiment("a"), tiny_experiment("b")
    assert missing_jobs([a, b], tmp_path) == [(a, 0), (b, 0), (a, 1), (b, 1)]
    record(tmp_path, b, 0, 0.5, 0.5)
    assert missing_jobs([a, b], tmp_path) == [(a, 0), (a, 1), (b, 1)]
    assert missing_jobs([a, b], tmp_path, [0, 5]) == [(a, 0), (a, 5), (b, 5)]


def test_a_split_that_was_not_measured_is_missing(tmp_path: Path) -> None:
    experiment = tiny_experiment()
    folder = record(tmp_path, experiment, 0, 0.5, 0.5)
    (folder / "train.json").unlink()
    assert missing_jobs([experiment], tmp_path, [0]) == [(experiment, 0)]


def test_experiments_are_the_twins_or_the_papers_own_or_those_named() -> None:
    table = find_table(3)
    twins = ["subset-table3-det", "subset-table3-both", "subset-table3-seg"]
    own = ["voc12-blitznet300-det", "voc12-blitznet300-both", "voc12-blitznet300-seg"]
    assert [one.name for one in choose_experiments(table)] == twins
    assert [one.name for one in choose_experiments(table, full=True)] == own
    assert [one.name for one in choose_experiments(table, [own[1]])] == [own[1]]
    with pytest.raises(InputError, match=r"table 3 has no experiment 'x' to run; it has voc12-bl"):
        choose_experiments(table, ["x"])
    with pytest.raises(InputError, match=r"table 5 has no small version; add --full"):
        choose_experiments(find_table(5))
    with pytest.raises(InputError, match=r"table 2 has nothing that can be measured here"):
        choose_experiments(find_table(2), full=True)
