"""Synchronised batch norms are the same network, for GPUs alone."""

import copy
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch import nn

from blitznet.errors import RecipeError
from blitznet.training.loop import train_steps
from blitznet.training.network import build_network, synchronize_batch_norms
from fixtures.tiny_run import MIXED, ON_CPU, tiny_recipe, use_small_network


def test_a_synchronised_network_is_the_same_network() -> None:
    network = build_network(tiny_recipe(freeze_stride=4))
    plain = copy.deepcopy(network)
    parameters = dict(network.named_parameters())
    synchronize_batch_norms(network, torch.device("cuda"))
    assert any(isinstance(module, nn.SyncBatchNorm) for module in network.modules())
    assert not any(isinstance(module, nn.BatchNorm2d) for module in network.modules())
    assert list(network.state_dict()) == list(plain.state_dict())
    assert all(parameter is parameters[name] for name, parameter in network.named_parameters())
    assert [m.training for m in network.modules()] == [m.training for m in plain.modules()]
    images = torch.rand(1, 3, 64, 64)
    for found, expected in zip(network.eval()(images), plain.eval()(images), strict=True):
        assert torch.equal(found, expected)


def test_several_processes_on_a_cpu_cannot(tmp_path: Path) -> None:
    options = replace(ON_CPU, devices=2)
    message = (
        r"^sync_batchnorm: PyTorch synchronises batch norms on CUDA devices alone, not on cpu; "
        "use --set sync_batchnorm=false$"
    )
    with pytest.raises(RecipeError, match=message):
        list(train_steps(tiny_recipe(sync_batchnorm=True), MIXED, tmp_path, options))


def test_one_process_has_nothing_to_synchronise(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    use_small_network(monkeypatch)
    (row,) = train_steps(tiny_recipe(sync_batchnorm=True, steps=1), MIXED, tmp_path, ON_CPU)
    assert row["step"] == 1
