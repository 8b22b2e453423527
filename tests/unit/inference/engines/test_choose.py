"""The choice of an engine, and the message if there is none."""

import warnings
from collections.abc import Callable
from pathlib import Path

import pytest

from blitznet.errors import CheckpointError, InputError
from blitznet.inference.engines import choose
from blitznet.inference.engines.choose import (
    AUTO_ORDER,
    ENGINES,
    open_engine,
    usual_engine,
)
from blitznet.inference.predictor import load
from tiny_network import save_tiny_checkpoint


@pytest.fixture
def openings(monkeypatch: pytest.MonkeyPatch) -> dict[str, Exception]:
    """Engines are replaced by their names; errors in this dict are raised instead."""
    raises: dict[str, Exception] = {}

    def open_it(name: str, *_: object) -> str:
        if name in raises:
            raise raises[name]
        return name

    monkeypatch.setattr(choose, "_open", open_it)
    return raises


def have(monkeypatch: pytest.MonkeyPatch, *packages: str, bfloat16: bool = False) -> None:
    monkeypatch.setattr(choose, "find_spec", lambda name: name in packages or None)
    monkeypatch.setattr(choose, "has_bfloat16", lambda: bfloat16)


TORCH = ("torch", "torchvision", "timm")


@pytest.mark.parametrize(
    ("packages", "bfloat16", "of_file", "of_checkpoint"),
    [
        ((), False, "onnxruntime", None),
        (("openvino",), False, "openvino", None),
        (("openvino",), True, "openvino-bf16", None),
        (TORCH, True, "onnxruntime", "torch"),
        ((*TORCH, "openvino"), True, "openvino-bf16", "torch"),
        ((*TORCH, "onnx", "onnxscript"), False, "onnxruntime", "onnxruntime"),
        ((*TORCH, "onnx", "onnxscript", "openvino"), False, "openvino", "openvino"),
    ],
)
def test_auto_takes_the_fastest_that_is_installed_and_that_runs_the_file(
    packages: tuple[str, ...],
    bfloat16: bool,
    of_file: str,
    of_checkpoint: str | None,
    openings: dict[str, Exception],
    monkeypatch: pytest.MonkeyPatch,
    tmp_path: Path,
) -> None:
    have(monkeypatch, *packages, bfloat16=bfloat16)
    exported, checkpoint = tmp_path / "mine.onnx", tmp_path / "mine.safetensors"
    exported.touch()
    checkpoint.touch()
    assert open_engine(exported, device="cpu") == of_file
    assert open_engine(None, device="cpu") == of_file
    if of_checkpoint is None:
        with pytest.raises(CheckpointError) as error:
            open_engine(checkpoint, device="cpu")
        assert f"give {exported}, or" in str(error.value)
        assert f"blitznet export {checkpoint}" in str(error.value)
        assert "pip install 'blitznet[train]'" in str(error.value)
    else:
        assert open_engine(checkpoint, device="cpu") == of_checkpoint


def test_auto_says_in_one_line_which_cannot_be_opened_and_takes_the_next_best(
    openings: dict[str, Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    have(monkeypatch, "openvino", bfloat16=True)
    openings["openvino-bf16"] = RuntimeError("no such\ninstruction")
    with pytest.warns(UserWarning, match=r"^openvino-bf16 cannot be used \(no such instruction\)"):
        assert open_engine(None, device="cpu") == "openvino"
    lines: list[str] = []
    openings["openvino"] = ImportError("libopenvino.so")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert open_engine(None, device="cpu", on_message=lines.append) == "onnxruntime"
    assert [line.split()[0] for line in lines] == ["openvino-bf16", "openvino"]


def test_what_was_asked_for_by_name_is_never_replaced(openings: dict[str, Exception]) -> None:
    openings["torch-bf16"] = InputError("not here")
    with pytest.raises(InputError, match="not here"):
        open_engine(None, "torch-bf16", "cpu")


def test_a_damaged_file_is_not_tried_with_every_engine(
    openings: dict[str, Exception], monkeypatch: pytest.MonkeyPatch
) -> None:
    have(monkeypatch, "openvino")
    openings["openvino"] = CheckpointError("damaged")
    with pytest.raises(CheckpointError, match="damaged"):
        open_engine(None, device="cpu")


def test_auto_tries_only_what_exists() -> None:
    for kind, names in AUTO_ORDER.items():
        assert all(kind in ENGINES[name].devices for name in names)


def test_the_variable_says_what_runs_a_network(monkeypatch: pytest.MonkeyPatch) -> None:
    for value, expected in (("", "auto"), ("auto", "auto"), ("torch", "torch")):
        monkeypatch.setenv("BLITZNET_ENGINE", value)
        assert usual_engine() == expected
    monkeypatch.setenv("BLITZNET_ENGINE", "pytorch")
    with pytest.raises(InputError, match=r"^BLITZNET_ENGINE: no engine is called 'pytorch'"):
        usual_engine()


@pytest.mark.parametrize(
    ("network", "engine", "device", "problem"),
    [
        (
            None,
            "openvion",
            "cpu",
            "no engine is called 'openvion'; choose from auto, onnxruntime, ",
        ),
        (None, "openvino", "cuda", "the engine openvino runs on cpu, not on cuda; use onn"),
        ("mine.onnx", "torch", "cpu", "mine.onnx is an exported file; give a checkpoint for Py"),
        ("mine.xml", "onnxruntime", "cpu", "mine.xml is run by openvino, not by onnxruntime"),
        ("nonsense", "auto", "cpu", "no network or file is called 'nonsense'; bundled: blitznet"),
        ("gone.onnx", "auto", "cpu", "no network or file is called 'gone.onnx'"),
        *[
            (None, "auto", name, f"a device is auto, cpu, cuda or cuda:N, not {name!r}")
            for name in ("gpu", "mps", "cuda:x", "cpu:1", "cuda:-1", "", 0)
        ],
    ],
)
def test_what_cannot_be_opened_is_one_line_that_says_what_can(
    network: str | None,
    engine: str,
    device: str,
    problem: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("mine.onnx", "mine.xml"):
        Path(name).touch()
    with pytest.raises(InputError) as error:
        open_engine(network, engine, device)
    assert str(error.value).startswith(problem)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("engine", "module", "extra"),
    [("openvino-bf16", "openvino", "openvino"), ("torch-bf16", "torch", "train")],
)
def test_a_missing_package_is_named_with_the_command_that_installs_it(
    engine: str, module: str, extra: str, hide_package: Callable[[str], None]
) -> None:
    hide_package(module)
    with pytest.raises(InputError) as error:
        open_engine(None, engine, "cpu")
    assert str(error.value) == (
        f"the engine {engine} needs {module}, which is not installed; "
        f"run: pip install 'blitznet[{extra}]'"
    )


def test_pytorch_runs_a_checkpoint_and_says_where(tmp_path: Path) -> None:
    engine = open_engine(save_tiny_checkpoint(tmp_path / "tiny.safetensors"), "torch", "cpu")
    assert (engine.name, engine.device) == ("torch", "cpu")
    engine.close()


def test_an_unknown_hint_names_those_that_there_are() -> None:
    with pytest.raises(InputError, match=r"^a hint is latency or throughput, not 'fast'$"):
        load(hint="fast")  # type: ignore[arg-type]
