"""A recipe's bfloat16 on processors with it, and where it would be emulated."""

from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

from blitznet.model_files import read_info
from blitznet.training import loop_options as module
from blitznet.training.loop import MODEL_FILE
from blitznet.training.loop_options import usable_precision
from blitznet.training.recipe import Precision
from fixtures.tiny_run import MIXED, ON_CPU, assert_same_tensors, tiny_recipe, train_steps

pytestmark = pytest.mark.usefixtures("small_network")


def have_bfloat16(monkeypatch: pytest.MonkeyPatch, has: bool) -> None:
    monkeypatch.setattr(module, "has_fast_bfloat16", lambda _: has)


def trained(run: Path, precision: Precision) -> dict[str, Tensor]:
    """The weights after a short run."""
    list(train_steps(tiny_recipe(steps=2, precision=precision), MIXED, run, ON_CPU))
    return load_file(run / MODEL_FILE)


def test_bfloat16_is_used_only_where_it_is_not_emulated(monkeypatch: pytest.MonkeyPatch) -> None:
    cpu = torch.device("cpu")
    have_bfloat16(monkeypatch, True)
    assert usable_precision("bf16", cpu) == "bf16"
    assert usable_precision("fp32", cpu) == "fp32"
    have_bfloat16(monkeypatch, False)
    assert usable_precision("bf16", cpu) == "fp32"
    assert usable_precision("fp32", cpu) == "fp32"


def test_where_it_is_emulated_the_run_is_that_in_fp32(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    have_bfloat16(monkeypatch, False)
    assert_same_tensors(trained(tmp_path / "bf16", "bf16"), trained(tmp_path / "fp32", "fp32"))
    assert read_info(tmp_path / "bf16" / MODEL_FILE).training["precision"] == "fp32"


def test_where_it_is_not_the_run_is_another_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    have_bfloat16(monkeypatch, True)
    ours, fp32 = trained(tmp_path / "bf16", "bf16"), trained(tmp_path / "fp32", "fp32")
    assert any(not torch.equal(ours[name], fp32[name]) for name in fp32)
    assert read_info(tmp_path / "bf16" / MODEL_FILE).training["precision"] == "bf16"
