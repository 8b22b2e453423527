"""The training benchmark: what is measured, and that it is reported whole."""

from pathlib import Path

import pytest
import torch

from blitznet.bench import train
from blitznet.bench.speed_table import device_text
from blitznet.bench.train_record import TrainRecord
from blitznet.cli import main
from blitznet.model_info import ModelConfig


@pytest.fixture
def tiny_family(tiny_config: ModelConfig, monkeypatch: pytest.MonkeyPatch) -> None:
    """One tiny network, measured in this process."""
    config = tiny_config.model_copy(update={"num_classes": 21})
    monkeypatch.setattr(train, "find_model", lambda _: config)
    monkeypatch.setattr(train, "in_own_process", lambda function, *rest: function(*rest))
    monkeypatch.setattr(train, "_DRAWN_PICTURES", 2)


@pytest.mark.usefixtures("tiny_family")
def test_the_report_is_a_table_and_a_line_of_json(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "train.json"
    options = ["--networks", "tiny", "--steps", "2", "--batch", "2", "--workers", "0"]
    assert main(["bench", "train", *options, "--device", "cpu", "--json", str(file)]) == 0
    output = capsys.readouterr().out
    assert output.splitlines()[-1] == file.read_text().strip()
    record = TrainRecord.model_validate_json(file.read_text())
    (row,) = record.rows
    assert (row.network, row.batch, record.steps, record.data) == ("tiny", 2, 2, "drawn")
    assert row.pictures_per_second == pytest.approx(2000 / row.step_ms.median)
    assert row.real_pictures_per_second > 0
    assert 0 <= row.waiting <= 1
    assert row.peak_memory_mib is None or row.peak_memory_mib > 50
    assert device_text(record.machine) in " ".join(output.split())
    assert "/s fixed batch" in output  # not cut to pieces where the output is no terminal


def test_a_network_without_a_recipe_takes_that_of_blitznet300() -> None:
    cpu, gpu = torch.device("cpu"), torch.device("cuda")
    recipe = train._recipe("blitznet512", 21, None, gpu)
    assert recipe.model.name == "blitznet512"
    assert recipe.optimizer == "adamw"
    assert recipe.global_batch_size == train.RECIPES["blitznet300"].global_batch_size
    assert train._recipe("blitznet300-mobile", 5, None, cpu).model.num_classes == 5
    assert train._recipe("blitznet300-mobile", 21, None, cpu).global_batch_size == 8
    assert train._recipe("blitznet300-mobile", 21, 3, gpu).global_batch_size == 3


def test_a_network_that_does_not_exist_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["bench", "train", "--networks", "resnet", "--device", "cpu"]) == 1
    assert capsys.readouterr().err.startswith("blitznet: no network is called 'resnet'")
