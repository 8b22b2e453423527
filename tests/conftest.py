"""Fixtures for all tests: a network small enough to run in milliseconds."""

import gc
import os
from collections.abc import Callable
from importlib.util import find_spec

import pytest
import torch
from hypothesis import HealthCheck, settings

import blitznet.extras
from blitznet.model.blitznet import BlitzNet
from blitznet.model_info import ModelConfig
from tiny_network import save_tiny_checkpoint

# The same examples in every run, without deadlines on a busy machine.
settings.register_profile(
    "steady", derandomize=True, deadline=None, suppress_health_check=[HealthCheck.too_slow]
)
settings.load_profile("steady")


def pytest_collection() -> None:
    """Exclude imported objects from garbage collection, which saves seconds."""
    gc.disable()


def pytest_collection_finish() -> None:
    """Collect the garbage of tests, without scanning older objects again."""
    gc.freeze()
    gc.enable()


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Run tests that fork first."""
    items.sort(key=lambda item: item.get_closest_marker("fresh") is None)


@pytest.fixture(autouse=True)
def _real_data(request: pytest.FixtureRequest) -> None:
    """Skip tests on real data without the folder VOCdevkit named by BLITZNET_DATA."""
    if request.node.get_closest_marker("data") and "BLITZNET_DATA" not in os.environ:
        pytest.skip("BLITZNET_DATA is not set")


@pytest.fixture(autouse=True)
def _own_cache(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the cache of checked data out of the user's folder."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.getbasetemp() / "cache"))


@pytest.fixture(autouse=True)
def _plain_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let commands run PyTorch: conversion takes seconds, and bfloat16 rounds."""
    monkeypatch.setenv("BLITZNET_ENGINE", "torch")


@pytest.fixture
def hide_package(monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Make one optional package look as if it were not installed."""

    def hide(package: str) -> None:
        monkeypatch.setattr(
            blitznet.extras, "find_spec", lambda name: None if name == package else find_spec(name)
        )

    return hide


@pytest.fixture
def without_report(hide_package: Callable[[str], None]) -> None:
    """Skip a run's report, which takes longer than a short run."""
    hide_package("matplotlib")


@pytest.fixture
def without_onnx(monkeypatch: pytest.MonkeyPatch) -> None:
    """Replace the ONNX export, which takes longer than a short run, by an empty file."""
    monkeypatch.setattr("blitznet.exporting.onnx_file.export_onnx", lambda path, *_: path.touch())


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The checkpoint of an untrained network with four classes."""
    return str(save_tiny_checkpoint(tmp_path_factory.mktemp("weights") / "tiny.safetensors"))


@pytest.fixture
def rng() -> torch.Generator:
    """A random generator with a fixed seed."""
    return torch.Generator().manual_seed(0)


@pytest.fixture
def tiny_config() -> ModelConfig:
    """Levels of 8, 4, 2 and 1 cells, 510 anchors, 3 classes, 32 channels."""
    return ModelConfig(
        name="tiny",
        backbone="test_resnet",
        image_size=64,
        finest_stride=8,
        num_classes=3,
        downscale_width=32,
        upscale_width=32,
        seg_width=8,
        finest_scale=0.1,
        min_scale=0.2,
    )


@pytest.fixture
def tiny_network(tiny_config: ModelConfig) -> BlitzNet:
    """An untrained network in evaluation mode, always with the same weights."""
    torch.manual_seed(0)
    return BlitzNet(tiny_config).eval()
