"""The benchmark of the input: both sides get the same pictures, and the report says it all."""

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from blitznet.bench.drawn_pictures import DrawnSource
from blitznet.bench.torchvision_policy import (
    build_policy,
    decode_with_pillow,
    decode_with_torchvision,
    faster_decoder,
    read_tv_sample,
    to_tv_sample,
)
from blitznet.cli import main

# Python 3.12 and later warn when a process with threads, as torch's, forks.
forks = pytest.mark.filterwarnings("ignore:.*multi-threaded.*fork.*:DeprecationWarning")


def test_drawn_pictures_are_readable_and_always_the_same(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name).mkdir()
    one, other = (DrawnSource(tmp_path / name, 2, (120, 90)).read(1) for name in ("a", "b"))
    assert one.size == (120, 90)
    assert one.boxes is not None
    assert one.seg_map is not None
    np.testing.assert_array_equal(one.image, other.image)
    x1, y1, x2, y2 = one.boxes[-1].astype(int)  # drawn last, so nothing covers it
    assert (one.seg_map[y1:y2, x1:x2] == one.labels[-1]).all()


def test_torchvision_gets_the_same_sample_from_files_and_from_memory(tmp_path: Path) -> None:
    source = DrawnSource(tmp_path, 1, (120, 90))
    given = to_tv_sample(source.read(0))
    read = read_tv_sample(source, 0, decode_with_pillow)
    assert given.keys() == read.keys() == {"image", "boxes", "labels", "mask"}
    for name, value in given.items():
        assert torch.equal(value, read[name]), name
    # Another build of the same library may round differently.
    torchvisions = decode_with_torchvision(str(source.labels(0).picture))
    assert (torchvisions.int() - given["image"]).abs().max() <= 2
    assert faster_decoder([str(source.labels(0).picture)]) in (
        decode_with_pillow,
        decode_with_torchvision,
    )


@pytest.mark.parametrize("colours", ["first", "last"])
def test_torchvisions_policy_gives_what_ours_gives(tmp_path: Path, colours: str) -> None:
    policy = build_policy(64, colours)  # type: ignore[arg-type]
    sample = to_tv_sample(DrawnSource(tmp_path, 1, (120, 90)).read(0))
    torch.manual_seed(0)
    for _ in range(10):
        result = policy(sample)
        assert result["image"].shape == (3, 64, 64)
        assert result["image"].dtype == torch.uint8
        assert result["mask"].shape == (64, 64)
        assert len(result["boxes"]) == len(result["labels"])


@forks
@pytest.mark.slow
def test_the_report_is_a_table_and_a_line_of_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "bench.json"
    options = ["--pictures", "2", "--size", "64", "--rounds", "1", "--workers", "1"]
    assert main(["bench", "data", *options, "--json", str(file)]) == 0
    output = capsys.readouterr().out
    assert output.splitlines()[-1] == file.read_text().strip()
    result = json.loads(file.read_text())
    assert "torchvision" in output
    assert len(result["timings"]) == 5
    assert all(row["cpu_ms"] > 0 for row in result["timings"])
    theirs, ours = result["timings"][1]["cpu_ms"], result["timings"][0]["cpu_ms"]
    assert result["times_as_fast"]["decoded"] == pytest.approx(theirs / ours)
    assert result["loader"]["pictures_per_second"] > 0


def test_the_views_are_reported_too(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "views", "--draws", "40"]) == 0
    result = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert result["draws"] == 40
    assert set(result["figures"]["aspect"]) == {"blitznet", "torchvision", "ks_distance"}


def test_data_that_is_not_there_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "data", "--data", "missing.yaml"]) == 1
    assert capsys.readouterr().err.startswith("blitznet: missing.yaml does not exist")
