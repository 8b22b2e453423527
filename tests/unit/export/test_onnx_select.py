"""The ONNX operators of suppression, run by two libraries, equal the greedy definition."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import openvino
import pytest
import torch
from torch import Tensor, nn

from blitznet.export.limits import Limits
from blitznet.export.onnx_file import export_onnx_program
from blitznet.export.onnx_select import select_as_one_operator
from blitznet.inference.engines.exported import follow_onnx
from object_cases import CASES, draw_case, greedy_objects

pytestmark = pytest.mark.slow

ANCHORS, CLASSES, LIMITS = 500, 4, Limits()
OUTPUTS = ("boxes", "scores", "labels", "count")
Run = Callable[[Tensor, Tensor], dict[str, np.ndarray]]


class Select(nn.Module):
    """Nothing but suppression."""

    def forward(self, boxes: Tensor, scores: Tensor) -> tuple[Tensor, ...]:
        return select_as_one_operator(boxes, scores, LIMITS)


@pytest.fixture(scope="module")
def onnx_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("select") / "select.onnx"
    example = torch.rand(2, ANCHORS, 4), torch.rand(2, ANCHORS, CLASSES)
    export_onnx_program(Select(), example, ("boxes_in", "scores_in"), OUTPUTS).save(path)
    return path


@pytest.fixture(scope="module", params=["onnxruntime", "openvino"])
def run(onnx_file: Path, request: pytest.FixtureRequest) -> Run:
    if request.param == "openvino":
        model = openvino.Core().read_model(onnx_file)
        follow_onnx(model, LIMITS.iou)
        compiled = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        return lambda boxes, scores: {
            name: compiled([boxes.numpy(), scores.numpy()])[name] for name in OUTPUTS
        }
    session = onnxruntime.InferenceSession(onnx_file, providers=["CPUExecutionProvider"])
    return lambda boxes, scores: dict(
        zip(
            OUTPUTS,
            session.run(OUTPUTS, {"boxes_in": boxes.numpy(), "scores_in": scores.numpy()}),
            strict=True,
        )
    )


@pytest.mark.parametrize("images", [1, 2, 7, 32])
@pytest.mark.parametrize("case", CASES)
def test_a_file_keeps_what_the_greedy_definition_keeps(
    run: Run, case: str, images: int, rng: torch.Generator
) -> None:
    boxes, scores = draw_case(case, rng, images, ANCHORS, CLASSES)
    found = run(boxes, scores)
    assert [found[name].shape for name in OUTPUTS] == [
        (images, 200, 4),
        (images, 200),
        (images, 200),
        (images,),
    ]
    for image in range(images):
        expected = greedy_objects(boxes[image], scores[image], LIMITS)
        count = int(found["count"][image])
        assert count == len(expected.labels)
        np.testing.assert_array_equal(found["labels"][image, :count], expected.labels)
        np.testing.assert_array_equal(found["scores"][image, :count], expected.scores)
        np.testing.assert_array_equal(found["boxes"][image, :count], expected.boxes)
        assert not any(found[name][image, count:].any() for name in OUTPUTS[:3])
