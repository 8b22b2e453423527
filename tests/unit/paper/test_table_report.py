"""The paper's figures beside ours: figures that are read, averaged, or left empty."""

import json
from pathlib import Path
from typing import Any

import pytest

from blitznet.bench import describe_machine
from blitznet.cpu import usable_cores
from blitznet.errors import InputError, count_of
from blitznet.paper.table_report import (
    Grid,
    Measured,
    fill_in,
    grids_of,
    read_results,
    seed_folder,
    terminal_table,
    to_dict,
)
from blitznet.paper.tables import Column, find_table, read_experiments
from figure_4 import OUR_SPEED, OURS, PAPER, figure_4, speed_points
from fixtures.table_results import record

BOTH = read_experiments()["voc12-blitznet300-both"]
TWIN = read_experiments()["subset-table3-both"]
BLITZNET300 = read_experiments()["voc07-blitznet300-s4-seg"]


def grids(number: int, root: Path) -> list[Grid]:
    return grids_of(fill_in(find_table(number), root))


def test_table_3_without_results_has_the_papers_figures_and_dashes(tmp_path: Path) -> None:
    first, twins = grids(3, tmp_path / "nowhere")
    header = ["network", "seg", "det", "mIoU paper", "mIoU ours", "mAP paper", "mAP ours", "seeds"]
    assert first.header == header
    assert first.rows == [
        ["BlitzNet300", "", "x", "", "", "78.9", "-", "-"],
        ["BlitzNet300", "x", "x", "72.8", "-", "80.0", "-", "-"],
        ["BlitzNet300", "x", "", "72.4", "-", "", "", "-"],
    ]
    assert twins.header == ["network", "seg", "det", "mIoU", "mAP", "seeds"]
    assert twins.rows[1] == ["blitznet300-mobile, Lite0", "x", "x", "-", "-", "-"]
    assert "not comparable with the paper's" in twins.title


@pytest.mark.parametrize("number", range(1, 9))
def test_every_table_prints_without_any_results(number: int, tmp_path: Path) -> None:
    report = fill_in(find_table(number), tmp_path)
    for grid in (*grids_of(report), *grids_of(report, per_class=True)):
        assert all(len(row) == len(grid.header) for row in grid.rows)
        assert all(set(row[grid.num_labels :]) & {"-", ""} for row in grid.rows)
    assert not report.ours or number == 7


def test_a_missing_folder_of_results_is_noted(tmp_path: Path) -> None:
    there, missing = (fill_in(find_table(3), folder) for folder in (tmp_path, tmp_path / "nope"))
    note = f"{tmp_path / 'nope'} does not exist, so ours are missing; a clone has our results"
    assert missing.notes == (*there.notes, note)


def test_mean_and_spread_over_seeds_by_hand(tmp_path: Path) -> None:
    for seed, mean_iou in ((0, 0.60), (1, 0.63), (2, 0.69)):
        record(tmp_path, BOTH, seed, mean_ap=0.5, mean_iou=mean_iou)
    # Mean 64; deviations -4, -1, 5: sqrt((16 + 1 + 25) / 2) = 4.583.
    report = fill_in(find_table(3), tmp_path)
    measured = report.ours[BOTH.name, BOTH.columns[0]]
    assert measured == Measured(pytest.approx((60, 63, 69)), (0, 1, 2))
    row = grids_of(report)[0].rows[1]
    assert row[3:] == ["72.8", "64.0 ± 4.6", "80.0", "50.0 ± 0.0", "3"]


def test_twins_lie_apart_and_one_seed_has_no_spread(tmp_path: Path) -> None:
    folder = record(tmp_path, TWIN, 3, mean_ap=0.701, mean_iou=0.6004)
    assert folder == tmp_path / "subset/subset-table3-both/seed-3"
    assert seed_folder(Path("r"), BOTH, 2) == Path("r/voc12-blitznet300-both/seed-2")
    first, twins = grids(3, tmp_path)
    assert first.rows[1][4] == "-"
    assert twins.rows[1] == ["blitznet300-mobile, Lite0", "x", "x", "60.0", "70.1", "1"]
    assert twins.rows[0][-1] == "-"


def test_one_experiment_fills_its_rows_in_two_tables(tmp_path: Path) -> None:
    """TableRow 2 of table 4 and row 4 of table 8 are one network."""
    shared = read_experiments()["voc12-voc07-blitznet300-both"]
    record(tmp_path, shared, 0, mean_ap=0.8, mean_iou=0.7)
    assert grids(4, tmp_path)[0].rows[1][3:] == ["75.7", "70.0", "83.6", "80.0", "1"]
    assert grids(8, tmp_path)[0].rows[3][1:] == ["79.1", "80.0", "75.7", "70.0", "1"]


def test_a_result_of_another_recipe_is_not_shown_but_noted(tmp_path: Path) -> None:
    folder = record(tmp_path, TWIN, 0, 0.7, 0.6, steps=20)
    report = fill_in(find_table(3), tmp_path)
    assert grids_of(report)[1].rows[1][3:] == ["-", "-", "-"]
    wanted = f"{folder} is not shown: it was trained with steps 20, the experiment has 2500"
    assert report.notes[-1] == wanted


@pytest.mark.parametrize(
    ("key", "value"), [("model", {"fusion": "refine"}), ("augmentation", {"zoom_out_max": 9.0})]
)
def test_so_is_one_of_another_network_or_augmentation(
    tmp_path: Path, key: str, value: dict[str, Any]
) -> None:
    record(tmp_path, TWIN, 0, 0.7, 0.6, **{key: value})
    results, (note,) = read_results(tmp_path, TWIN)
    assert results == {}
    assert f"trained with {key}.{next(iter(value))} " in note


def test_a_result_on_other_data_does_not_count(tmp_path: Path) -> None:
    folder = record(tmp_path, TWIN, 0, 0.7, 0.6)
    run = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps(run | {"data": "data/voc-subset.yaml"}))
    results, (note,) = read_results(tmp_path, TWIN)
    assert results == {}
    assert "on voc-subset.yaml, the experiment has voc-subset-aug.yaml" in note


@pytest.mark.parametrize("number", range(1, 9))
def test_all_results_that_are_committed_are_shown(number: int) -> None:
    report = fill_in(find_table(number), Path(__file__).parents[3] / "results")
    assert not [note for note in report.notes if "is not shown" in note]


def test_a_run_that_is_not_finished_does_not_count(tmp_path: Path) -> None:
    folder = record(tmp_path, TWIN, 0, 0.7, 0.6)
    (folder / "run.json").unlink()
    assert read_results(tmp_path, TWIN) == ({}, [])


@pytest.mark.parametrize(
    ("text", "match"),
    [
        ("{", "cannot be read as JSON"),
        ("[]", "is not a JSON object"),
        ('{"classes": ["cat"]}', "averages other classes"),
    ],
)
def test_damaged_results_get_one_line(tmp_path: Path, text: str, match: str) -> None:
    folder = record(tmp_path, TWIN, 0, 0.7, 0.6)
    (folder / "val.json").write_text(text)
    with pytest.raises(InputError, match=match):
        fill_in(find_table(3), tmp_path)


def test_classes_of_table_1_stand_below_each_other(tmp_path: Path) -> None:
    folder = record(tmp_path, BLITZNET300, 0, mean_ap=0.8)
    metrics = json.loads((folder / "voc07_test.json").read_text())
    classes = [column.title for column in find_table(1).blocks[0].columns[1:]]
    metrics["ap"]["voc07"] = {name: 0.01 * n for n, name in enumerate(classes)}
    (folder / "voc07_test.json").write_text(json.dumps(metrics))
    report = fill_in(find_table(1), tmp_path)
    rows = grids_of(report, per_class=True)[0].rows
    paper, ours = (row for row in rows if row[0] == "BlitzNet300 + seg (s4)")
    assert paper[2:6] == ["paper", "79.1", "86.7", "86.2"]
    assert ours[2:6] == ["ours", "80.0", "0.0", "1.0"]
    assert ours[-2:] == ["19.0", "1"]
    assert len(grids_of(report)[0].header) == 5


def test_the_terminal_has_every_row(tmp_path: Path) -> None:
    record(tmp_path, BOTH, 0, mean_ap=0.5, mean_iou=0.6)
    (grid, *_) = grids(3, tmp_path)
    assert grid.rows[1] == ["BlitzNet300", "x", "x", "72.8", "60.0", "80.0", "50.0", "1"]
    assert terminal_table(grid).row_count == 3


def test_json_holds_every_seed(tmp_path: Path) -> None:
    for seed, mean_iou in ((0, 0.5), (1, 0.75)):
        record(tmp_path, BOTH, seed, mean_ap=0.5, mean_iou=mean_iou)
    row = to_dict(fill_in(find_table(3), tmp_path))["blocks"][0]["rows"][1]
    assert row["experiment"] == "voc12-blitznet300-both"
    assert row["source"] == "Table 3, row 2"
    assert row["paper"] == {"mIoU": 72.8, "mAP": 80.0}
    spread = pytest.approx(12.5 * 2**0.5)
    wanted = {"mean": 62.5, "spread": spread, "values": (50.0, 75.0), "seeds": (0, 1)}
    assert row["ours"]["mIoU"] == wanted


def write_speeds(root: Path, **fps: float) -> None:
    """A record of the benchmark: networks on two engines, with single images and batches."""
    rows = [
        {"network": network, "engine": engine, "batch": batch, "fps": value * factor * batch}
        for network, value in fps.items()
        for engine, factor in (("onnxruntime", 1), ("torch", 0.5))
        for batch in (1, 8)
    ]
    content = {"machine": describe_machine("cpu"), "rows": rows}
    (root / "bench.json").write_text(json.dumps(content))


def test_table_7_takes_speed_on_single_images_and_counts_proposals(tmp_path: Path) -> None:
    without = grids(7, tmp_path)[0].rows[5]
    assert without[3:] == ["79.1", "-", "24", "-", "45390", "45390", "-"]
    write_speeds(tmp_path, blitznet300=123.45)
    record(tmp_path, BLITZNET300, 0, mean_ap=0.75)
    rows = grids(7, tmp_path)[0].rows
    assert rows[5][3:] == ["79.1", "75.0", "24", "123.5", "45390", "45390", "1"]
    assert rows[6][3:] == ["81.5", "-", "19.5", "-", "32766", "32766", "-"]
    assert rows[0][3:] == ["73.2", "", "7", "", "", "", ""]
    notes = fill_in(find_table(7), tmp_path).notes
    machine = describe_machine("cpu")
    where = f"{machine['device']}, {count_of(usable_cores(), 'core')}"
    assert notes[-1] == f"Our FPS of blitznet300: {where}, onnxruntime, random weights."
    (tmp_path / "bench.json").write_text('{"rows": [{}]}')
    with pytest.raises(InputError, match=r"bench.json is not a record of blitznet bench"):
        fill_in(find_table(7), tmp_path)


def test_figure_4_says_whose_accuracy_a_point_has(tmp_path: Path) -> None:
    points = speed_points(fill_in(find_table(7), tmp_path))
    assert [style for *_, style in points] == [PAPER] * 7
    write_speeds(tmp_path, blitznet300=100.0, blitznet512=50.0)
    record(tmp_path, BLITZNET300, 0, mean_ap=0.75)
    points = speed_points(fill_in(find_table(7), tmp_path))
    assert [point for point in points if point[-1] != PAPER] == [
        ("BlitzNet300 (s4)", 100.0, 75.0, OURS),
        ("BlitzNet512 (s8)", 50.0, 81.5, OUR_SPEED),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_figure_4_is_drawn(tmp_path: Path, suffix: str) -> None:
    write_speeds(tmp_path, blitznet300=700.0)
    path = tmp_path / f"figure{suffix}"
    figure_4(path, tmp_path)
    assert path.stat().st_size > 10_000
    assert [file.name for file in tmp_path.iterdir() if "part" in file.name] == []


def test_columns_read_per_cent_and_nothing_where_there_is_nothing() -> None:
    ap = Column("mAP", "val", ("mean_ap", "voc07"))
    assert ap.read({"mean_ap": {"voc07": 0.5}}) == 50
    assert ap.read({"mean_ap": None}) is None
    assert ap.read({"mean_ap": {"voc07": None}}) is None
    assert Column("FPS", "bench", ("fps",), scale=1).read({"fps": 24.0}) == 24
    assert Column("mIoU", "val").read({"mean_iou": 0.5}) is None
