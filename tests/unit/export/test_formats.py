"""What cannot be exported is said before anything is computed."""

from pathlib import Path

import pytest

from blitznet.errors import InputError
from blitznet.export.formats import choose_format
from blitznet.export.limits import Limits
from blitznet.export.run import export_network, export_path
from tiny_network import save_tiny_checkpoint


def test_every_format_has_the_precisions_that_its_runtime_knows() -> None:
    for name, precision, suffix in [
        ("onnx", "fp32", ".onnx"),
        ("openvino", "int8", ".xml"),
        ("torchscript", "fp32", ".torchscript"),
    ]:
        chosen, known = choose_format(name, precision)
        assert (chosen.suffixes[0], known) == (suffix, precision)


@pytest.mark.parametrize(
    ("name", "precision", "message"),
    [
        ("tflite", "fp32", "no format is called 'tflite'; there are onnx, openvino, torchscript"),
        ("onnx", "int8", "onnx files have no precision 'int8'; they have fp32; use --format openv"),
        ("openvino", "fp8", "openvino files have no precision 'fp8'; they have fp32, fp16, int8$"),
    ],
)
def test_an_unknown_format_or_precision_is_named_with_what_there_is(
    name: str, precision: str, message: str
) -> None:
    with pytest.raises(InputError, match=message):
        choose_format(name, precision)


def test_a_missing_package_is_named_with_what_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("blitznet.extras.find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"export to onnx needs onnx, .*blitznet\[onnx\]"):
        choose_format("onnx", "fp32")


def test_a_file_is_called_after_its_network_and_its_precision() -> None:
    assert export_path("blitznet300-mobile", "onnx", "fp32") == Path("blitznet300-mobile.onnx")
    assert export_path("runs/a/model.safetensors", "openvino", "int8") == Path("model-int8.xml")


def test_what_does_not_fit_together_is_said_first(tmp_path: Path) -> None:
    model = str(save_tiny_checkpoint(tmp_path / "tiny.safetensors"))
    (tmp_path / "there.onnx").touch()
    for options, message in [
        ({"format_name": "openvino", "precision": "int8"}, "add --calibrate DATA.yaml"),
        ({"calibrate": tmp_path / "data.yaml"}, "--calibrate is for int8, not for fp32"),
        ({"out": tmp_path / "a.pt"}, r"onnx files end in \.onnx; call it .*a\.onnx"),
        ({"out": tmp_path / "there.onnx"}, "is there already; give another --out FILE"),
        (
            {"out": tmp_path / "a.onnx", "limits": Limits(0.5), "data": tmp_path / "data.yaml"},
            "none below 0.5; leave out --score or --data",
        ),
    ]:
        with pytest.raises(InputError, match=message):
            export_network(model, **{"format_name": "onnx", **options})  # type: ignore[arg-type]
    with pytest.raises(InputError, match="no network or file is called 'nothing'"):
        export_network("nothing", "onnx", out=tmp_path / "a.onnx")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["there.onnx", "tiny.safetensors"]
