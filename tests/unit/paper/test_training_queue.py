"""Training what a table lacks: order, breaks, what is kept. On drawn pictures, in seconds."""

import json
from pathlib import Path

import pytest
import yaml

from blitznet.errors import InputError
from blitznet.paper.catalogue import find_table
from blitznet.paper.experiment import Experiment, derive
from blitznet.paper.figure import Figure
from blitznet.paper.results import Measured, Results
from blitznet.paper.training_queue import (
    choose_experiments,
    missing_jobs,
    read_seeds,
    run_jobs,
)
from fixtures.make_fixtures import VOC_MINI, draw
from fixtures.table_results import record
from fixtures.tiny_run import tiny_recipe

pytestmark = pytest.mark.filterwarnings("ignore:.*does not have many workers:UserWarning")

AP = Figure("mAP", "val", ("mean_ap", "voc12"), ("cat", "dog"))
IOU = Figure("mIoU", "train", ("mean_iou",))


def tiny_experiment(name: str = "tiny-both", **recipe: object) -> Experiment:
    return Experiment(
        source="Table 3, row 2",
        recipe=tiny_recipe(name=name, steps=2, warmup_steps=1, **recipe),
        data="tiny",
        figures=(AP, IOU),
        seeds=(0, 1),
        is_twin=True,
    )


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The working folder, with data/tiny.yaml."""
    monkeypatch.chdir(tmp_path)
    entry = {"format": "voc", "masks": "SegmentationClass"}
    draw(tmp_path / "others", noise=100)
    data = {
        "classes": "voc",
        "train": [entry | {"root": str(VOC_MINI), "image_set": "Main/trainval"}],
        "val": [entry | {"root": "../others", "image_set": "Segmentation/trainval"}],
    }
    (tmp_path / "data").mkdir()
    (tmp_path / "data/tiny.yaml").write_text(yaml.safe_dump(data))
    return tmp_path


def run(experiment: Experiment, seeds: list[int], max_minutes: float | None = None) -> list[bool]:
    jobs = missing_jobs([experiment], Results(Path("results")), seeds)
    done = run_jobs(jobs, Path("results"), "cpu", workers=0, max_minutes=max_minutes)
    return [finished for _, finished in done]


@pytest.mark.slow
def test_a_run_broken_off_goes_on_and_is_measured_once(
    workplace: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    experiment = tiny_experiment()
    assert run(experiment, [0, 1], max_minutes=0) == [False]
    assert not (workplace / "results").exists()
    assert (workplace / "runs/table/tiny-both/seed-0/state.safetensors").is_file()

    assert run(experiment, [0]) == [True]
    folder = workplace / "results/subset/tiny-both/seed-0"
    assert {path.name for path in folder.iterdir()} == {
        *("val.json", "train.json", "run.json", "log.csv")
    }
    metrics = json.loads((folder / "val.json").read_text())
    assert metrics["classes"] == ["cat", "dog"]
    measured = Results(Path("results")).measured(experiment, AP)
    expected = metrics["mean_ap"]["voc12"]
    assert measured == (None if expected is None else Measured((100 * expected,), (0,)))
    text = (folder / "run.json").read_text()
    assert str(workplace) not in text, "what is committed names no folder of this machine"
    assert json.loads(text)["training"]["steps"] == 2
    assert json.loads(text)["recipe"]["seed"] == 0

    assert run(experiment, [0]) == []
    changed = Experiment(**vars(experiment) | {"recipe": derive(experiment.recipe, lr=0.5)})
    with pytest.raises(InputError, match=r"seed-0 is another run: it was trained with lr 0.001"):
        run(changed, [0])


def test_first_seeds_of_all_come_before_second_seeds(tmp_path: Path) -> None:
    a, b = tiny_experiment("a"), tiny_experiment("b")
    jobs = missing_jobs([a, b], Results(tmp_path))
    assert [(one.name, seed) for one, seed in jobs] == [("a", 0), ("b", 0), ("a", 1), ("b", 1)]
    record(tmp_path, b, 0, 0.5, 0.5)
    jobs = missing_jobs([a, b], Results(tmp_path))
    assert [(one.name, seed) for one, seed in jobs] == [("a", 0), ("a", 1), ("b", 1)]
    jobs = missing_jobs([a, b], Results(tmp_path), [0, 5])
    assert [(one.name, seed) for one, seed in jobs] == [("a", 0), ("a", 5), ("b", 5)]


def test_a_split_that_was_not_measured_is_missing(tmp_path: Path) -> None:
    experiment = tiny_experiment()
    folder = record(tmp_path, experiment, 0, 0.5, 0.5)
    (folder / "train.json").unlink()
    assert missing_jobs([experiment], Results(tmp_path), [0]) == [(experiment, 0)]


def test_without_a_clone_there_is_no_data(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"data/tiny.yaml, which is not here; run it in a clone"):
        run(tiny_experiment(), [0])


def test_experiments_are_the_twins_or_the_papers_own_or_those_named() -> None:
    table = find_table(3)
    twins = ["subset-table3-det", "subset-table3-both", "subset-table3-seg"]
    own = ["voc12-blitznet300-det", "voc12-blitznet300-both", "voc12-blitznet300-seg"]
    assert [one.name for one in choose_experiments(table, None, full=False)] == twins
    assert [one.name for one in choose_experiments(table, None, full=True)] == own
    assert [one.name for one in choose_experiments(table, [own[1]], full=False)] == [own[1]]
    with pytest.raises(InputError, match=r"table 3 has no experiment 'x' to run; it has voc12-bl"):
        choose_experiments(table, ["x"], full=False)
    with pytest.raises(InputError, match=r"table 5 has no twin on the subset; add --full"):
        choose_experiments(find_table(5), None, full=False)
    with pytest.raises(InputError, match=r"table 2 has nothing that can be measured here"):
        choose_experiments(find_table(2), None, full=True)


def test_seeds_are_whole_numbers() -> None:
    assert read_seeds(None) is None
    assert read_seeds("0, 2") == [0, 2]
    with pytest.raises(InputError, match=r"--seeds one: give whole numbers"):
        read_seeds("one")
