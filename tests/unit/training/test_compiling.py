"""Compiled training: the same run up to rounding, the same files, or one clear error line."""

from collections.abc import Callable
from dataclasses import replace
from functools import partialmethod
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from blitznet.errors import InputError
from blitznet.model.blitznet import BlitzNet
from blitznet.training.loop import MODEL_FILE
from fixtures.tiny_run import MIXED, ON_CPU, read_state, tiny_recipe, train_steps

COMPILED = replace(ON_CPU, compile=True)

Backend = str | Callable[..., Any]


@pytest.fixture
def compile_with(monkeypatch: pytest.MonkeyPatch) -> Callable[[Backend], None]:
    """Replace PyTorch's C++ compiler backend, which takes minutes."""

    def choose(backend: Backend) -> None:
        compile_it = BlitzNet.compile
        monkeypatch.setattr(BlitzNet, "compile", partialmethod(compile_it, backend=backend))

    torch._dynamo.reset()
    return choose


@pytest.mark.slow
def test_a_compiled_run_is_the_same_up_to_rounding_and_has_the_same_files(
    tmp_path: Path, compile_with: Callable[[Backend], None]
) -> None:
    compile_with("aot_eager")
    recipe = tiny_recipe(lr=1e-5, accumulate=2, steps=3)
    (row,) = train_steps(recipe, MIXED, tmp_path / "compiled", COMPILED)
    (plain,) = train_steps(recipe, MIXED, tmp_path / "plain", ON_CPU)
    for name in ("classification", "box", "segmentation"):
        assert row[name] == pytest.approx(plain[name], rel=1e-4)
    for read in (read_state, lambda run: load_file(run / MODEL_FILE)):
        found, expected = read(tmp_path / "compiled"), read(tmp_path / "plain")
        assert found.keys() == expected.keys()
    weight = "segmentation_head.classify.weight"
    torch.testing.assert_close(found[weight], expected[weight], rtol=1e-3, atol=1e-5)


@pytest.mark.slow
def test_a_compiler_that_fails_is_told_in_one_line(
    tmp_path: Path, compile_with: Callable[[Backend], None]
) -> None:
    def fail(*_: object) -> None:
        raise AssertionError("cannot vectorise")

    compile_with(fail)
    with pytest.raises(
        InputError,
        match=r"^--compile: PyTorch \S+ cannot compile this training on cpu \(.+\); train without "
        "--compile$",
    ) as error:
        list(train_steps(tiny_recipe(), MIXED, tmp_path, COMPILED))
    assert "cannot vectorise" in str(error.value)
    assert "\n" not in str(error.value)
