"""Timing a network on the available engines."""

import json
from collections.abc import Sequence
from pathlib import Path

import pytest
from PIL import Image

from blitznet.bench import (
    BenchRow,
    Predict,
    Seconds,
    Speeds,
    bench,
    load_images,
    make_row,
    speed_table,
    take_turns,
)
from blitznet.cli import main
from blitznet.errors import InputError
from tiny_network import save_tiny_checkpoint

ENGINE = "torch"  # the one that needs no conversion


@pytest.fixture
def tiny(tmp_path: Path) -> str:
    """A checkpoint."""
    return str(save_tiny_checkpoint(tmp_path / "tiny.safetensors"))


def test_all_take_turns_in_an_order_that_rotates_and_first_calls_do_not_count() -> None:
    calls: list[str] = []
    images = [Image.new("RGB", (number + 1, 1)) for number in range(3)]

    def look(name: str) -> Predict:
        def call(batch: Sequence[Image.Image]) -> Seconds:
            calls.append(f"{name}{''.join(str(image.width) for image in batch)}")
            return {"network": float(len(calls))}

        return call

    told: list[str] = []
    predictors = {name: look(name) for name in "ab"}
    samples = take_turns(predictors, images, 2, rounds=2, seconds=0, on_message=told.append)
    assert calls == ["a12", "a31", "b23", "b12", "b31", "a23"]
    assert samples == {"a": [{"network": 2.0}], "b": [{"network": 4.0}]}
    assert told[0] == "measuring a, round 1 of 2"
    assert told[2:] == ["measuring b, round 2 of 2", "measuring a, round 2 of 2"]


def test_a_row_has_medians_an_image_by_hand() -> None:
    samples = [{"resize": 0.002, "network": network, "post": 0.004} for network in (0.1, 0.2, 0.4)]
    row = make_row("net", "torch", 2, samples)
    assert (row.resize_ms, row.network_ms, row.post_ms) == pytest.approx((1, 100, 2))
    assert row.total_ms == pytest.approx(103)
    assert row.p95_ms == pytest.approx(103 + 0.9 * 100)
    assert row.fps == pytest.approx(1000 / 103)
    assert row.images == 6


def test_a_network_is_measured_on_what_can_run_it(tiny: str) -> None:
    told: list[str] = []
    speeds = bench(
        tiny, [ENGINE, "abacus"], score=0.01, rounds=2, seconds=0, on_message=told.append
    )
    (row,) = speeds.rows
    assert (row.network, row.engine, row.batch) == ("blitznet300-mobile", ENGINE, 1)
    assert row.network_ms > 0 < row.post_ms
    assert "abacus" in speeds.left_out["abacus"]
    assert told[:2] == [f"opening {ENGINE}", "opening abacus"]
    assert told[-1] == f"measuring {ENGINE}, round 2 of 2"
    with pytest.raises(InputError, match="no engine can run this network"):
        bench(tiny, ["abacus"])


def test_the_command_prints_a_table_and_the_json_of_the_file(
    tiny: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "images"
    folder.mkdir()
    Image.new("RGB", (50, 40)).save(folder / "a.png")
    arguments = ["bench", tiny, "--engines", ENGINE, "--images", str(folder), "--seconds", "0"]
    assert main([*arguments, "--rounds", "1", "--json", str(tmp_path / "speeds.json")]) == 0
    out, err = capsys.readouterr()
    assert f"measuring {ENGINE}, round 1 of 1 ..." in err
    assert "images/s" in out
    line = out.splitlines()[-1]
    assert (tmp_path / "speeds.json").read_text() == line + "\n"
    content = json.loads(line)
    assert content["data"] == str(folder)
    assert content["rows"][0]["engine"] == ENGINE
    assert content["machine"]["cores"] >= 1


def test_a_table_has_a_line_for_every_row_and_says_what_is_missing() -> None:
    row = BenchRow("net", "torch", 1, 1, 100, 2, 103, 150.26, 9.71, 6)
    machine = {"device": "Some CPU", "cores": 2}
    table = speed_table(Speeds(machine, "drawn", 0.8, 0.5, 1, 1.0, (row,), {"x": "not installed"}))
    cells = [next(iter(column.cells)) for column in table.columns]
    assert cells == ["net", "torch", "1", "1.0", "100", "2.0", "103", "150", "9.7"]
    assert "Left out: x (not installed)." in str(table.caption)


def test_images_are_those_of_a_folder_or_drawn_ones(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no folder with images"):
        load_images(tmp_path)
    for number in range(3):
        Image.new("RGB", (10 + number, 5)).save(tmp_path / f"{number}.png")
    (tmp_path / "notes.txt").touch()
    assert [image.size for image in load_images(tmp_path, 2)[0]] == [(10, 5), (12, 5)]
    images, decode_ms = load_images(None, 3)
    assert [image.size for image in images] == [(500, 375)] * 3
    assert decode_ms > 0
    assert images[1].tobytes() == load_images(None, 2)[0][1].tobytes()
