import dataclasses
import warnings
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from blitznet.errors import CheckpointError, InputError
from blitznet.inference.engines import choose
from blitznet.inference.engines.choose import (
    FASTEST,
    RUNTIMES,
    Settings,
    open_engine,
    open_network,
    usual_runtime,
)
from blitznet.inference.engines.engine import Engine
from blitznet.inference.engines.torch_engine import TorchEngine
from tiny_network import ColourNetwork, save_tiny_checkpoint

CPU = torch.device("cpu")


@pytest.fixture
def openings(monkeypatch: pytest.MonkeyPatch) -> dict[str, Exception | None]:
    """Runtimes that are opened for show: what each name raises; those left out open."""
    raises: dict[str, Exception | None] = {}

    def pretend(name: str) -> choose.Open:
        def open_it(model: object, info: object, settings: Settings) -> Engine:
            if (error := raises.get(name)) is not None:
                raise error
            return TorchEngine(ColourNetwork(), info, CPU, name)  # type: ignore[arg-type]

        return open_it

    for name, way in RUNTIMES.items():
        monkeypatch.setitem(RUNTIMES, name, dataclasses.replace(way, open=pretend(name)))
    return raises


def have(
    monkeypatch: pytest.MonkeyPatch, packages: tuple[str, ...] = (), bfloat16: bool = False
) -> None:
    monkeypatch.setattr(choose, "is_installed", lambda package: package in packages)
    monkeypatch.setattr(choose, "has_bfloat16", lambda: bfloat16)
    monkeypatch.setattr(choose, "has_fast_bfloat16", lambda _: bfloat16)


def chosen(device: torch.device = CPU, runtime: str = "auto", **settings: object) -> str:
    model = ColourNetwork()
    return open_network(model, None, runtime, Settings(device, **settings)).name  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("packages", "bfloat16", "expected"),
    [
        (("openvino",), True, "openvino-bf16"),
        (("openvino",), False, "openvino"),
        ((), True, "torch-bf16"),
        ((), False, "torch"),
        (("onnx", "onnxscript", "onnxruntime"), False, "onnxruntime"),
        (("onnx", "onnxscript", "onnxruntime"), True, "torch-bf16"),
        (("onnxruntime",), False, "torch"),
        (("openvino", "onnx", "onnxscript", "onnxruntime"), False, "openvino"),
    ],
)
def test_auto_takes_the_fastest_that_is_installed_and_that_the_cpu_has_instructions_for(
    packages: tuple[str, ...],
    bfloat16: bool,
    expected: str,
    openings: dict[str, Exception | None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    have(monkeypatch, packages, bfloat16)
    assert chosen() == expected


@pytest.mark.parametrize(
    ("packages", "bfloat16", "expected"),
    [
        (("openvino", "onnx", "onnxscript", "onnxruntime"), True, "openvino-bf16"),
        (("onnx", "onnxscript", "onnxruntime"), True, "onnxruntime"),
        (("onnx", "onnxscript", "onnxruntime"), False, "onnxruntime"),
        ((), True, "torch-bf16"),
    ],
)
def test_a_network_of_grouped_convolutions_rather_takes_onnxruntime_than_pytorch_on_a_cpu(
    packages: tuple[str, ...],
    bfloat16: bool,
    expected: str,
    openings: dict[str, Exception | None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    have(monkeypatch, packages, bfloat16)
    model = torch.nn.Sequential(torch.nn.Conv2d(8, 8, 3, groups=8))
    assert open_network(model, None, "auto", Settings(CPU)).name == expected  # type: ignore[arg-type]
    assert choose.fastest_runtimes(model, torch.device("cuda", 0))[-1] == "torch"


def test_auto_stays_on_the_gpu_that_was_asked_for(
    openings: dict[str, Exception | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    have(monkeypatch, ("openvino",), bfloat16=True)
    assert chosen(torch.device("cuda", 0)) == "torch-bf16"
    assert chosen(torch.device("mps")) == "torch"


def test_auto_warns_in_one_line_and_takes_the_next_best_where_one_cannot_be_opened(
    openings: dict[str, Exception | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    have(monkeypatch, ("openvino",), bfloat16=True)
    openings["openvino-bf16"] = RuntimeError("no such\ninstruction")
    with pytest.warns(UserWarning, match=r"^openvino-bf16 cannot be used \(no such instruction\)"):
        assert chosen() == "openvino"
    lines: list[str] = []
    openings["openvino"] = ImportError("libopenvino.so")
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert chosen(tell=lines.append) == "torch-bf16"
    assert [line.split()[0] for line in lines] == ["openvino-bf16", "openvino"]


def test_what_was_asked_for_by_name_is_never_replaced(
    openings: dict[str, Exception | None], monkeypatch: pytest.MonkeyPatch
) -> None:
    have(monkeypatch, (), bfloat16=True)
    openings["torch-bf16"] = InputError("not here")
    with pytest.raises(InputError, match="not here"):
        chosen(runtime="torch-bf16")


def test_auto_tries_only_what_exists_and_ends_with_what_runs_everywhere() -> None:
    for kind, names in FASTEST.items():
        assert all(kind in RUNTIMES[name].devices for name in names)
        assert names[-1] == "torch"
    assert sorted(choose.FASTEST_GROUPED_ON_CPU) == sorted(FASTEST["cpu"])


@pytest.mark.parametrize(
    ("variable", "network", "expected"),
    [
        ("", None, "auto"),
        ("torch", None, "torch"),
        ("torch", "mine.safetensors", "torch"),
        ("torch", "mine.onnx", "auto"),
        ("openvino", "mine.onnx", "openvino"),
        ("openvino", "mine.torchscript", "auto"),
    ],
)
def test_the_variable_says_what_runs_a_network_but_breaks_no_exported_file(
    variable: str, network: str | None, expected: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BLITZNET_RUNTIME", variable)
    assert usual_runtime(network) == expected


def test_a_variable_that_names_no_runtime_is_one_line(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("BLITZNET_RUNTIME", "pytorch")
    for network in (None, "mine.onnx"):
        with pytest.raises(InputError, match=r"^BLITZNET_RUNTIME: no runtime is called 'pytorch'"):
            usual_runtime(network)


def test_an_unknown_runtime_is_one_line_with_all_names() -> None:
    with pytest.raises(InputError) as error:
        open_engine(None, "openvion")
    assert str(error.value).startswith("no runtime is called 'openvion'; there are auto, torch, ")
    assert all(name in str(error.value) for name in RUNTIMES)


@pytest.mark.parametrize(
    ("runtime", "module", "extra"),
    [
        ("openvino-bf16", "openvino", "openvino"),
        ("onnxruntime", "onnxscript", "onnx"),
    ],
)
def test_a_missing_package_is_named_with_the_command_that_installs_it(
    runtime: str, module: str, extra: str, hide_package: Callable[[str], None]
) -> None:
    hide_package(module)
    with pytest.raises(InputError) as error:
        open_engine(None, runtime, "cpu")
    assert str(error.value) == (
        f"the runtime {runtime} needs {module}, which is not installed; "
        f"run: pip install 'blitznet[{extra}]'"
    )


def test_a_runtime_of_another_device_is_one_line_with_those_that_fit() -> None:
    with pytest.raises(InputError, match=r"the runtime tensorrt runs on cuda, not on cpu; .*torch"):
        open_engine(None, "tensorrt", "cpu")


def test_without_a_device_named_a_runtime_gets_one_that_it_runs_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(
        choice, "choose_device", lambda name: torch.device("cuda" if name == "auto" else name)
    )
    assert choose.device_for("openvino") == CPU
    assert choose.device_for("torch") == torch.device("cuda")
    assert choose.device_for("auto") == torch.device("cuda")
    assert choose.device_for("openvino", "cuda") == torch.device("cuda")  # and is refused


def test_int8_without_pictures_says_how_to_give_some(tmp_path: Path) -> None:
    checkpoint = save_tiny_checkpoint(tmp_path / "tiny.safetensors")
    with pytest.raises(InputError, match=r"give some with --calibrate DATA\.yaml"):
        open_engine(checkpoint, "openvino-int8", "cpu")


def test_a_network_that_does_not_exist_is_one_line() -> None:
    with pytest.raises(CheckpointError, match="no network or file is called 'nonsense'"):
        open_engine("nonsense")
    with pytest.raises(CheckpointError, match=r"nonsense\.onnx does not exist"):
        open_engine("nonsense.onnx")
