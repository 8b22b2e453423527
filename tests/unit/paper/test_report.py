"""The paper's figures beside ours: what is read, averaged, and left empty."""

from dataclasses import replace
from pathlib import Path

import pytest

from blitznet.bench.record import Machine, SpeedRecord, SpeedRow, Spread, write_record
from blitznet.errors import InputError
from blitznet.paper.catalogue import EXPERIMENTS, TABLES, find_table
from blitznet.paper.figure import VOC07_AP, VOC07_CLASS_APS, VOC12_AP, VOC12_IOU
from blitznet.paper.figure_4 import Point, draw_figure_4, speed_points
from blitznet.paper.report import (
    Grid,
    fill_in,
    notes_of,
    one_below_the_other,
    side_by_side,
    to_dict,
)
from blitznet.paper.results import Measured, Results, seed_folder
from blitznet.paper.show import grid_of, markdown_table, terminal_table
from blitznet.paper.table_7 import FPS
from fixtures.table_results import record

BOTH = EXPERIMENTS["voc12-blitznet300-both"]
TWIN = EXPERIMENTS["subset-table3-both"]


def grids(number: int, root: Path) -> list[Grid]:
    return [side_by_side(report) for report in fill_in(find_table(number), Results(root))]


def test_table_3_without_results_has_the_papers_figures_and_dashes(tmp_path: Path) -> None:
    first, twins = grids(3, tmp_path / "nowhere")
    assert first.header == (
        *("network", "seg", "det"),
        *("mIoU paper", "mIoU ours", "mAP paper", "mAP ours", "seeds"),
    )
    assert first.rows == (
        ("BlitzNet300", "", "x", "", "", "78.9", "-", "-"),
        ("BlitzNet300", "x", "x", "72.8", "-", "80.0", "-", "-"),
        ("BlitzNet300", "x", "", "72.4", "-", "", "", "-"),
    )
    assert twins.header == ("network", "seg", "det", "mIoU", "mAP", "seeds")
    assert twins.rows[1] == ("blitznet300-mobile", "x", "x", "-", "-", "-")
    assert "not comparable with the paper's" in twins.title


@pytest.mark.parametrize("number", TABLES)
def test_every_table_prints_without_any_results(number: int, tmp_path: Path) -> None:
    for report in fill_in(find_table(number), Results(tmp_path), per_class=True):
        for grid in (side_by_side(report), one_below_the_other(report)):
            assert all(len(row) == len(grid.header) for row in grid.rows)
            assert all(set(row[grid.num_labels :]) & {"-", ""} for row in grid.rows)
        for row in report.lines:
            assert all(one is None for one in row.ours) or number == 7


def test_mean_and_spread_over_seeds_by_hand(tmp_path: Path) -> None:
    for seed, mean_iou in ((0, 0.60), (1, 0.63), (2, 0.69)):
        record(tmp_path, BOTH, seed, mean_ap=0.5, mean_iou=mean_iou)
    # Mean 64; deviations -4, -1, 5: sqrt((16 + 1 + 25) / 2) = 4.583.
    assert Results(tmp_path).measured(BOTH, VOC12_IOU) == Measured(
        pytest.approx((60, 63, 69)), (0, 1, 2)
    )
    row = grids(3, tmp_path)[0].rows[1]
    assert row[3:] == ("72.8", "64.0 ± 4.6", "80.0", "50.0 ± 0.0", "3")


def test_one_seed_has_no_spread(tmp_path: Path) -> None:
    record(tmp_path, BOTH, 3, mean_ap=0.801, mean_iou=0.7004)
    assert grids(3, tmp_path)[0].rows[1][3:] == ("72.8", "70.0", "80.0", "80.1", "1")


def test_twins_lie_apart_and_fill_their_own_block(tmp_path: Path) -> None:
    folder = record(tmp_path, TWIN, 1, mean_ap=0.7, mean_iou=0.6)
    assert folder == tmp_path / "subset/subset-table3-both/seed-1"
    first, twins = grids(3, tmp_path)
    assert first.rows[1][4] == "-"
    assert twins.rows[1] == ("blitznet300-mobile", "x", "x", "60.0", "70.0", "1")
    assert twins.rows[0][-1] == "-"


def test_one_experiment_fills_its_rows_in_two_tables(tmp_path: Path) -> None:
    """Row 2 of table 4 and row 4 of table 8 are one network."""
    shared = EXPERIMENTS["voc12-voc07-blitznet300-both"]
    record(tmp_path, shared, 0, mean_ap=0.8, mean_iou=0.7)
    assert grids(4, tmp_path)[0].rows[1][3:] == ("75.7", "70.0", "83.6", "80.0", "1")
    assert grids(8, tmp_path)[0].rows[3][1:] == ("79.1", "80.0", "75.7", "70.0", "1")


def test_what_a_network_does_not_do_is_empty_and_not_missing(tmp_path: Path) -> None:
    record(tmp_path, EXPERIMENTS["voc12-blitznet300-seg"], 0, mean_iou=0.7)
    assert grids(3, tmp_path)[0].rows[2] == ("BlitzNet300", "x", "", "72.4", "70.0", "", "", "1")


def test_a_result_of_another_recipe_is_not_shown_but_noted(tmp_path: Path) -> None:
    folder = record(tmp_path, TWIN, 0, 0.7, 0.6, steps=20)
    results = Results(tmp_path)
    reports = fill_in(find_table(3), results)
    assert side_by_side(reports[1]).rows[1][3:] == ("-", "-", "-")
    wanted = f"{folder} is not shown: it was trained with steps 20, the experiment has "
    assert notes_of(find_table(3), results)[-1].startswith(wanted)


def test_a_run_that_is_not_finished_does_not_count(tmp_path: Path) -> None:
    folder = record(tmp_path, TWIN, 0, 0.7, 0.6)
    (folder / "run.json").unlink()
    assert Results(tmp_path).seeds(TWIN) == {}


@pytest.mark.parametrize(
    ("text", "match"),
    [("{", "is damaged"), ("[]", "is no JSON object"), ('{"classes": ["cat"]}', "averages other")],
)
def test_damaged_results_get_one_line(tmp_path: Path, text: str, match: str) -> None:
    folder = record(tmp_path, TWIN, 0, 0.7, 0.6)
    (folder / "val.json").write_text(text)
    with pytest.raises(InputError, match=match):
        fill_in(find_table(3), Results(tmp_path))


def test_classes_of_table_1_stand_below_each_other(tmp_path: Path) -> None:
    experiment = EXPERIMENTS["voc07-blitznet300-s4-seg"]
    folder = record(tmp_path, experiment, 0, mean_ap=0.8)
    text = (folder / "voc07_test.json").read_text()
    names = {figure.title: 0.01 * n for n, figure in enumerate(VOC07_CLASS_APS)}
    (folder / "voc07_test.json").write_text(
        text.replace('"cat": 0.8', str(names)[1:-1].replace("'", '"'))
    )
    report = fill_in(find_table(1), Results(tmp_path), per_class=True)[0]
    grid = grid_of(report, per_class=True)
    rows = [row for row in grid.rows if row[0] == "BlitzNet300 + seg (s4)"]
    assert [row[2] for row in rows] == ["paper", "ours"]
    assert rows[0][3:6] == ("79.1", "86.7", "86.2")
    assert rows[1][3:6] == ("80.0", "0.0", "1.0")
    assert rows[1][-2:] == ("19.0", "1")
    assert len(grid_of(fill_in(find_table(1), Results(tmp_path))[0], False).header) == 5


def test_markdown_has_a_cell_for_everything(tmp_path: Path) -> None:
    record(tmp_path, BOTH, 0, mean_ap=0.5, mean_iou=0.6)
    lines = markdown_table(grids(3, tmp_path)[0]).splitlines()
    assert lines[1] == "| --- | --- | --- | ---: | ---: | ---: | ---: | ---: |"
    assert lines[3] == "| BlitzNet300 | x | x | 72.8 | 60.0 | 80.0 | 50.0 | 1 |"
    assert terminal_table(grids(3, tmp_path)[0]).row_count == 3


def test_json_holds_every_seed(tmp_path: Path) -> None:
    for seed, mean_iou in ((0, 0.5), (1, 0.75)):
        record(tmp_path, BOTH, seed, mean_ap=0.5, mean_iou=mean_iou)
    table = find_table(3)
    row = to_dict(table, fill_in(table, Results(tmp_path)), [])["blocks"][0]["rows"][1]
    assert row["experiment"] == "voc12-blitznet300-both"
    assert row["source"] == "Table 3, row 2"
    assert row["paper"] == {"mIoU": 72.8, "mAP": 80.0}
    assert row["ours"]["mIoU"] == {
        "mean": 62.5,
        "spread": pytest.approx(12.5 * 2**0.5),
        "values": [50.0, 75.0],
        "seeds": [0, 1],
    }


def speed_record(**fps: float) -> SpeedRecord:
    """Two networks, each on single pictures and on batches."""
    spread = Spread(median=1, least=1, quarter=1, three_quarters=1)
    rows = tuple(
        SpeedRow(
            network=name.replace("_", "-"),
            kind="ours",
            tasks="boxes and map",
            runtime="torch-bf16",
            batch=batch,
            input_size=300,
            anchors=45_390,
            parameters=1,
            trained=False,
            boxes_found=None,
            preprocess=spread,
            network_ms=spread,
            postprocess=spread,
            total=spread,
            fps=value * batch,
            files_fps=None,
            peak_memory_mib=None,
            pictures=1,
        )
        for name, value in fps.items()
        for batch in (1, 8)
    )
    machine = Machine(
        device="Some GPU",
        device_type="cuda",
        cpu="",
        cores=1,
        threads=1,
        memory_gib=None,
        system="",
    )
    return SpeedRecord(
        machine=machine,
        data="",
        pictures=1,
        picture_size=(1, 1),
        score=0.01,
        seconds=1,
        rounds=1,
        clocks={},
        decode=spread,
        reference="",
        rows=rows,
    )


def test_table_7_takes_speed_on_single_pictures_and_counts_proposals(tmp_path: Path) -> None:
    without = grids(7, tmp_path)[0].rows[5]
    assert without == (
        *("BlitzNet300 (s4)", "ResNet-50", "300x300"),
        *("79.1", "-", "24", "-", "45390", "45390", "-"),
    )
    write_record(tmp_path / "bench.json", speed_record(blitznet300=123.45))
    record(tmp_path, EXPERIMENTS["voc07-blitznet300-s4-seg"], 0, mean_ap=0.75)
    rows = grids(7, tmp_path)[0].rows
    assert rows[5][3:] == ("79.1", "75.0", "24", "123.5", "45390", "45390", "1")
    assert rows[6][3:] == ("81.5", "-", "19.5", "-", "32766", "32766", "-")
    assert rows[0][3:] == ("73.2", "", "7", "", "", "", "")
    notes = notes_of(find_table(7), Results(tmp_path))
    assert notes[-1] == "Our FPS of blitznet300: Some GPU, torch-bf16."


def test_figure_4_says_whose_accuracy_a_point_has(tmp_path: Path) -> None:
    table = find_table(7)
    assert len(speed_points(table, Results(tmp_path))) == len(table.block.rows)
    write_record(tmp_path / "bench.json", speed_record(blitznet300=100.0, blitznet512=50.0))
    record(tmp_path, EXPERIMENTS["voc07-blitznet300-s4-seg"], 0, mean_ap=0.75)
    ours = [point for point in speed_points(table, Results(tmp_path)) if point.is_ours]
    assert ours == [
        Point("BlitzNet300 (s4)", 100.0, 75.0, True, True),
        Point("BlitzNet512 (s8)", 50.0, 81.5, True, False),
    ]


@pytest.mark.slow
@pytest.mark.parametrize("suffix", [".png", ".svg"])
def test_figure_4_is_drawn(tmp_path: Path, suffix: str) -> None:
    write_record(tmp_path / "bench.json", speed_record(blitznet300=700.0))
    path = tmp_path / f"figure{suffix}"
    draw_figure_4(find_table(7), Results(tmp_path), path)
    assert path.stat().st_size > 10_000
    assert [file.name for file in tmp_path.iterdir() if "part" in file.name] == []


def test_figure_4_wants_table_7_and_a_picture(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"draws table 7 .figure 4., not table 3"):
        draw_figure_4(find_table(3), Results(tmp_path), tmp_path / "a.png")
    with pytest.raises(InputError, match=r"a.txt: a figure is written as .png, .svg or .pdf"):
        draw_figure_4(find_table(7), Results(tmp_path), tmp_path / "a.txt")


def test_figures_read_per_cent_and_nothing_where_there_is_nothing() -> None:
    assert VOC07_AP.read({"mean_ap": {"voc07": 0.5}}) == 50
    assert VOC07_AP.read({"mean_ap": None}) is None
    assert VOC12_AP.read({"mean_ap": {"voc12": None}}) is None
    assert FPS.read({"fps": 24.0}) == 24
    assert replace(VOC12_IOU, keys=()).read({"mean_iou": 0.5}) is None
    assert seed_folder(Path("r"), BOTH, 2) == Path("r/voc12-blitznet300-both/seed-2")
