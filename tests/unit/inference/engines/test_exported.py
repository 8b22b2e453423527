"""Opening exported files: what is wrong with them is said in one line."""

import json
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch
from onnx import TensorProto, helper

from blitznet.errors import CheckpointError, InputError
from blitznet.inference.engines.exported import ExportedEngine, open_exported
from blitznet.model_files import METADATA_KEY, ExportInfo, parse_export_info
from tiny_network import NAMES, SIZE, tiny_model


def export_info() -> ExportInfo:
    return ExportInfo(
        model=tiny_model().config,
        names=NAMES,
        score=0.25,
        iou=0.45,
        top=4,
        precision="fp32",
        outputs=("boxes", "scores", "labels", "count"),
    )


def write_constant_onnx(path: Path, metadata: str | None) -> Path:
    """A network that always gives the same two objects and two rows of padding, in ONNX."""
    boxes = np.zeros((1, 4, 4), np.float32)
    boxes[0, 0], boxes[0, 1] = (0, 0.25, 0.5, 1), (0.5, 0.5, 0.75, 0.75)
    values = {
        "boxes": boxes,
        "scores": np.array([[0.875, 0.5, 0, 0]], np.float32),
        "labels": np.array([[2, 1, 0, 0]]),
        "count": np.array([2]),
    }
    nodes = [
        helper.make_node("Constant", [], [name], value=onnx.numpy_helper.from_array(value))
        for name, value in values.items()
    ]
    outputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(value.dtype), None)
        for name, value in values.items()
    ]
    pixels = helper.make_tensor_value_info("images", TensorProto.UINT8, ["B", SIZE, SIZE, 3])
    model = helper.make_model(
        helper.make_graph(nodes, "constant", [pixels], outputs),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )
    if metadata is not None:
        helper.set_model_props(model, {METADATA_KEY: metadata})
    onnx.save(model, path)
    return path


def test_rows_become_detections_in_input_pixels_without_the_padding(tmp_path: Path) -> None:
    runtime = open_exported(
        write_constant_onnx(tmp_path / "a.onnx", export_info().model_dump_json()), device="cpu"
    )
    assert runtime.name == "onnxruntime"
    assert runtime.info == export_info()
    [found] = run(runtime, 0.25)
    assert found.boxes.tolist() == [[0, 16, 32, 64], [32, 32, 48, 48]]
    assert found.labels.tolist() == [2, 1]
    assert found.scores.tolist() == [0.875, 0.5]
    assert (found.boxes.dtype, found.labels.dtype) == (torch.float32, torch.int64)


def test_weaker_objects_than_asked_for_are_left_out(tmp_path: Path) -> None:
    path = write_constant_onnx(tmp_path / "a.onnx", export_info().model_dump_json())
    runtime = open_exported(path, device="cpu")
    [found] = run(runtime, 0.5)
    assert found.scores.tolist() == [0.875, 0.5]
    [found] = run(runtime, 0.51)
    assert found.scores.tolist() == [0.875]
    with pytest.raises(InputError, match=r"objects of score 0\.25 or more, but 0\.1 is asked"):
        run(runtime, 0.1)


def run(runtime: ExportedEngine, score: float):  # type: ignore[no-untyped-def]
    return runtime.run(np.zeros((1, SIZE, SIZE, 3), np.uint8), score).detections


@pytest.mark.parametrize("suffix", [".onnx", ".xml", ".torchscript"])
def test_a_damaged_file_gives_one_clear_line(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"bad{suffix}"
    path.write_bytes(b"\x08\x0a no model at all")
    with pytest.raises(CheckpointError, match=r"bad.* cannot be opened by .*may be damaged"):
        open_exported(path)


def test_a_file_cut_short_anywhere_gives_one_clear_line(tmp_path: Path) -> None:
    whole = write_constant_onnx(tmp_path / "a.onnx", export_info().model_dump_json()).read_bytes()
    path = tmp_path / "cut.onnx"
    for length in range(0, len(whole), 40):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"cut\.onnx"):
            open_exported(path)


def test_a_missing_file_and_a_foreign_suffix_are_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="does not exist"):
        open_exported(tmp_path / "none.onnx")
    (tmp_path / "a.tflite").write_bytes(b"")
    with pytest.raises(
        CheckpointError, match=r"exported files end in \.onnx, \.xml, \.torchscript"
    ):
        open_exported(tmp_path / "a.tflite")


def test_a_file_of_somebody_else_is_told_apart(tmp_path: Path) -> None:
    path = write_constant_onnx(tmp_path / "foreign.onnx", None)
    with pytest.raises(CheckpointError, match="was not made by blitznet export"):
        open_exported(path)
    with pytest.raises(CheckpointError, match="was not made by blitznet export"):
        open_exported(path, "openvino")


def test_a_library_that_does_not_open_the_file_and_a_missing_device_are_named(
    tmp_path: Path,
) -> None:
    path = write_constant_onnx(tmp_path / "a.onnx", export_info().model_dump_json())
    with pytest.raises(InputError, match="is run by onnxruntime or openvino, not by 'torchscript'"):
        open_exported(path, "torchscript")
    with pytest.raises(InputError, match="not on cuda"):
        open_exported(path, device="cuda")


def test_the_description_survives_and_its_damage_is_named() -> None:
    path, info = Path("a.onnx"), export_info()
    assert parse_export_info(path, info.model_dump_json()) == info
    content = info.model_dump(mode="json")
    for change, message in [
        ({"format_version": 99}, "has format 99, this version of blitznet reads up to 1; upgrade"),
        ({"iou": "much"}, "damaged description: iou"),
    ]:
        with pytest.raises(CheckpointError, match=message):
            parse_export_info(path, json.dumps(content | change))
    for text in ("{", "[]", "{}"):
        with pytest.raises(CheckpointError, match="damaged description"):
            parse_export_info(path, text)


def test_a_missing_package_is_named_with_what_installs_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write_constant_onnx(tmp_path / "a.onnx", export_info().model_dump_json())
    monkeypatch.setattr("blitznet.extras.find_spec", lambda _: None)
    with pytest.raises(InputError, match=r"pip install 'blitznet\[onnx\]'"):
        open_exported(path)
    with pytest.raises(InputError, match=r"pip install 'blitznet\[openvino\]'"):
        open_exported(path, "openvino")
