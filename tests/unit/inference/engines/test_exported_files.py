"""Opening exported files: errors are reported in one line."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper
from PIL import Image

from blitznet.errors import CheckpointError, InputError
from blitznet.inference.engines.choose import open_engine
from blitznet.inference.engines.engine import Engine
from blitznet.inference.predictor import load
from blitznet.model_files import METADATA_KEY, ExportInfo, parse_export_info
from tiny_network import NAMES, SIZE, tiny_config


def export_info() -> ExportInfo:
    return ExportInfo(
        model=tiny_config().model_copy(update={"segment": False}),
        names=NAMES,
        score=0.25,
        iou=0.45,
        top=4,
        precision="fp32",
        outputs=("boxes", "scores", "labels", "count"),
    )


def write_constant_onnx(path: Path, metadata: str | None, **others: np.ndarray) -> Path:
    """A network that always gives the same two objects and two rows of padding, in ONNX.

    `others` are outputs in place of or besides these.
    """
    boxes = np.zeros((1, 4, 4), np.float32)
    boxes[0, 0], boxes[0, 1] = (0, 0.25, 0.5, 1), (0.5, 0.5, 0.75, 0.75)
    values: dict[str, np.ndarray] = {
        "boxes": boxes,
        "scores": np.array([[0.875, 0.5, 0, 0]], np.float32),
        "labels": np.array([[2, 1, 0, 0]]),
        "count": np.array([2]),
    } | others
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


@pytest.fixture
def constant(tmp_path: Path) -> Path:
    return write_constant_onnx(tmp_path / "a.onnx", export_info().model_dump_json())


def run(engine: Engine, score: float):  # type: ignore[no-untyped-def]
    return engine.run(np.zeros((1, SIZE, SIZE, 3), np.uint8), score).detections


def test_rows_become_detections_in_input_pixels_without_the_padding(constant: Path) -> None:
    engine = open_engine(constant, "onnxruntime", "cpu")
    assert (engine.name, engine.device, engine.info) == ("onnxruntime", "cpu", export_info())
    [found] = run(engine, 0.25)
    assert found.boxes.tolist() == [[0, 16, 32, 64], [32, 32, 48, 48]]
    assert found.labels.tolist() == [2, 1]
    assert found.scores.tolist() == [0.875, 0.5]
    assert (found.boxes.dtype, found.labels.dtype) == (np.float32, np.int64)


def test_engines_get_the_threads_that_are_asked_for(constant: Path) -> None:
    for name in ("onnxruntime", "openvino"):
        engine: Any = open_engine(constant, name, "cpu", threads=1)
        if name == "onnxruntime":
            assert engine._session.get_session_options().intra_op_num_threads == 1
        else:
            assert engine._compiled.get_property("INFERENCE_NUM_THREADS") == 1
        engine.close()


@pytest.mark.parametrize("name", ["onnxruntime", "openvino"])
def test_a_closed_predictor_says_so_instead_of_waiting(constant: Path, name: str) -> None:
    image = Image.new("RGB", (SIZE, SIZE))
    with load(constant, engine=name) as predictor:
        predictor.predict(image)
    predictor.close()
    with pytest.raises(RuntimeError, match=r"^the predictor is closed; load the network again$"):
        predictor.predict(image)
    with pytest.raises(RuntimeError, match=r"^the predictor is closed"):
        predictor.predict([image])


def test_openvino_ends_runs_that_wait_when_it_is_closed(constant: Path) -> None:
    engine: Any = open_engine(constant, "openvino", "cpu")
    engine.close()
    for _ in range(2):
        with pytest.raises(RuntimeError, match=r"^the engine is closed$"):
            run(engine, 0.5)


def test_weaker_objects_than_asked_for_are_left_out(constant: Path) -> None:
    engine = open_engine(constant, "onnxruntime", "cpu")
    [found] = run(engine, 0.5)
    assert found.scores.tolist() == [0.875, 0.5]
    [found] = run(engine, 0.51)
    assert found.scores.tolist() == [0.875]
    text = (
        r"^the file gives objects of score 0\.25 or more, but {} was requested; ask for 0\.25 or "
    )
    text += "more, or export it again with --score {}$"
    with pytest.raises(InputError, match=text.format("0", "1e-06")):
        run(engine, 0.0)
    with pytest.raises(InputError, match=text.format(r"0\.1", r"0\.1")):
        run(engine, 0.1)


@pytest.mark.parametrize("suffix", [".onnx", ".xml"])
def test_a_damaged_file_gives_one_clear_line(suffix: str, tmp_path: Path) -> None:
    path = tmp_path / f"bad{suffix}"
    path.write_bytes(b"\x08\x0a no model at all")
    with pytest.raises(CheckpointError, match=r"bad.* cannot be opened by .*may be damaged"):
        open_engine(path, device="cpu")


def test_a_file_cut_short_anywhere_gives_one_clear_line(constant: Path, tmp_path: Path) -> None:
    whole, path = constant.read_bytes(), tmp_path / "cut.onnx"
    for length in range(0, len(whole), 40):
        path.write_bytes(whole[:length])
        with pytest.raises(CheckpointError, match=r"cut\.onnx"):
            open_engine(path, "onnxruntime", "cpu")


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_a_file_of_somebody_else_is_told_apart(engine: str, tmp_path: Path) -> None:
    path = write_constant_onnx(tmp_path / "foreign.onnx", None)
    with pytest.raises(CheckpointError, match="was not made by blitznet export"):
        open_engine(path, engine, "cpu")


def test_a_missing_provider_is_named(constant: Path) -> None:
    with pytest.raises(InputError, match="cuda needs CUDAExecutionProvider"):
        open_engine(constant, "onnxruntime", "cuda")


def test_the_description_survives_and_its_damage_is_named() -> None:
    path, info = Path("a.onnx"), export_info()
    assert parse_export_info(path, info.model_dump_json()) == info
    content = info.model_dump(mode="json")
    for change, message in [
        ({"format_version": 99}, "has format 99, this version of blitznet reads up to 1; install"),
        ({"iou": "much"}, "damaged description: iou"),
        ({"names": ["background"]}, "names 1 classes for a network of 4"),
    ]:
        with pytest.raises(CheckpointError, match=message):
            parse_export_info(path, json.dumps(content | change))
    for text in ("{", "[]", "{}", "[" * 100_000):
        with pytest.raises(CheckpointError, match=r"damaged description|cannot be read as JSON"):
            parse_export_info(path, text)


def test_onnxruntime_is_told_to_report_nothing(constant: Path) -> None:
    open_engine(constant, "onnxruntime", "cpu")
    assert os.environ["ORT_DISABLE_TELEMETRY"] == "1"


@pytest.mark.parametrize(
    ("others", "change", "problem"),
    [
        ({"boxes": np.full((1, 4, 4), np.nan, np.float32)}, {}, "boxes is infinite or NaN"),
        ({"scores": np.zeros((1, 5), np.float32)}, {}, r"scores has the shape \(1, 5\)"),
        ({"labels": np.zeros((1, 4, 1), np.int64)}, {}, r"labels has the shape \(1, 4, 1\)"),
        ({}, {"top": 9}, r"boxes has the shape \(1, 4, 4\)"),
        ({}, {"outputs": ["boxes", "scores"]}, "its outputs are boxes, scores"),
        ({}, {"outputs": ["boxes", "scores", "labels", "count", "evil"]}, "evil"),
        ({}, {"outputs": ["boxes", "scores", "labels", "count", "seg_logits"]}, "seg_logits"),
    ],
)
def test_a_graph_that_does_not_fit_its_description_is_refused(
    tmp_path: Path, others: dict[str, np.ndarray], change: dict[str, object], problem: str
) -> None:
    content = json.dumps(export_info().model_dump(mode="json") | change)
    path = write_constant_onnx(tmp_path / "a.onnx", content, **others)
    for engine in ("onnxruntime", "openvino"):
        with pytest.raises(CheckpointError, match=f"a.onnx does not match its metadata.*{problem}"):
            open_engine(path, engine, "cpu")


def weights_of(path: Path, tensors: list[onnx.TensorProto]) -> Path:
    model = onnx.load(path)
    model.graph.initializer.extend(tensors)
    onnx.save(model, path)
    return path


# With them, a network without a segmentation head would find nothing, and nothing would be wrong.
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", [np.float16, np.float32, np.float64])
def test_weights_that_are_not_finite_are_refused(
    constant: Path, value: float, dtype: type[np.floating]
) -> None:
    sound, bad = np.ones((2, 3), dtype), np.ones((2, 3), dtype)
    bad[1, 2] = value
    tensors = [onnx.numpy_helper.from_array(*one) for one in ((sound, "good"), (bad, "a.weight"))]
    if dtype == np.float32:
        tensors[1] = helper.make_tensor("a.weight", TensorProto.FLOAT, (2, 3), bad.ravel())
    for engine in ("onnxruntime", "openvino"):
        with pytest.raises(CheckpointError, match=r"a\.onnx: 'a\.weight' holds infinite or NaN"):
            open_engine(weights_of(constant, tensors), engine, "cpu")


def test_weights_of_openvino_that_are_not_finite_are_refused(tmp_path: Path) -> None:
    from openvino import Model, save_model
    from openvino import opset13 as operators

    weight = operators.constant(np.array([1, np.inf], np.float32), name="weight")
    path = tmp_path / "a.xml"
    save_model(Model([operators.relu(weight)], []), path, compress_to_fp16=False)
    with pytest.raises(CheckpointError, match=r"a\.xml: 'weight' holds infinite or NaN values"):
        open_engine(path, "openvino", "cpu")


def test_an_input_of_another_size_is_refused(tmp_path: Path) -> None:
    content = export_info().model_dump(mode="json")
    content["model"]["image_size"] = 2 * SIZE
    path = write_constant_onnx(tmp_path / "a.onnx", json.dumps(content))
    with pytest.raises(CheckpointError, match=r"a\.onnx does not match its metadata"):
        open_engine(path, "onnxruntime", "cpu")


def test_what_openvino_reads_but_cannot_compile_is_one_line(
    constant: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object) -> None:
        raise RuntimeError("Exception from core.cpp:117:\nNot Implemented: dynamic\n")

    monkeypatch.setattr("openvino.Core.compile_model", fail)
    problem = r"a\.onnx cannot be opened by OpenVINO; .*core\.cpp:117: Not Implemented: dynamic\)$"
    with pytest.raises(CheckpointError, match=problem):
        open_engine(constant, "openvino", "cpu")


def test_classes_without_a_name_are_refused(tmp_path: Path) -> None:
    labels = np.array([[2, 99, 0, 0]])
    path = write_constant_onnx(tmp_path / "a.onnx", export_info().model_dump_json(), labels=labels)
    engine = open_engine(path, "onnxruntime", "cpu")
    with pytest.raises(CheckpointError, match="classes that it has no names for"):
        run(engine, 0.25)


@pytest.mark.parametrize("engine", ["onnxruntime", "openvino"])
def test_weights_in_another_file_are_not_opened(engine: str, tmp_path: Path) -> None:
    weights = onnx.numpy_helper.from_array(np.zeros(4, np.float32), "weights")
    weights.ClearField("raw_data")
    weights.data_location = TensorProto.EXTERNAL
    weights.external_data.add(key="location", value="../../etc/passwd")
    graph = helper.make_graph([], "external", [], [], [weights])
    onnx.save(helper.make_model(graph), tmp_path / "a.onnx")
    with pytest.raises(CheckpointError, match="keeps its weights in another file"):
        open_engine(tmp_path / "a.onnx", engine, "cpu")


def test_a_pipe_is_no_exported_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "a.onnx")
    with pytest.raises(CheckpointError, match=r"a\.onnx"):
        open_engine(tmp_path / "a.onnx", "onnxruntime", "cpu")
