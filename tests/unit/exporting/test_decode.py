"""Decoding with ONNX operators, run by two libraries, equals the greedy definition."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnxruntime
import openvino
import pytest
import torch
from torch import Tensor, nn
from torchvision.ops import box_convert

from blitznet.detection.limits import Limits
from blitznet.exporting.decode import decode
from blitznet.exporting.onnx_file import trace
from blitznet.inference.engines.openvino_engine import read_exported
from reference.greedy_nms import decode_with_loops

SIZE, ANCHORS, CLASSES = 64, 500, 4
OUTPUTS = ("boxes", "scores", "labels", "count")
Run = Callable[[Tensor, Tensor], dict[str, np.ndarray]]
CASES = ("distinct", "ties", "all equal", "everything", "nothing", "one empty", "no area")


def draw_anchors() -> Tensor:
    rng = torch.Generator().manual_seed(7)
    centre = torch.rand(12, 2, generator=rng)[torch.arange(ANCHORS) % 12] * SIZE
    centre = centre + torch.randn(ANCHORS, 2, generator=rng) * 3
    half = 4 + 12 * torch.rand(ANCHORS, 2, generator=rng)
    return torch.cat((centre - half, centre + half), dim=1)


def draw_case(case: str, images: int) -> tuple[Tensor, Tensor]:
    """(B, A, C) class logits and (B, A, 4) box deltas."""
    rng = torch.Generator().manual_seed(images)
    logits = 3 * torch.randn(images, ANCHORS, CLASSES, generator=rng)
    logits[..., 0] += 3
    deltas = torch.randn(images, ANCHORS, 4, generator=rng)
    if case == "ties":
        # Scores of exactly 1, 1/2, 1/3 and 1/4, whatever the order of sums.
        logits, deltas = -100 * (logits < 1).float(), torch.zeros_like(deltas)
    elif case == "all equal":
        logits = torch.zeros_like(logits)
    elif case == "everything":
        logits[..., 0] = -4
    elif case == "nothing":
        logits[..., 0] = 20
    elif case == "one empty":
        logits[0, :, 0] = 20
    elif case == "no area":
        deltas[:, ::2, 0] = 1000
    return logits, deltas


class Decode(nn.Module):
    """A graph of nothing but decoding and NMS."""

    def __init__(self, limits: Limits) -> None:
        super().__init__()
        self.limits = limits
        self.register_buffer("anchors", box_convert(draw_anchors(), "xyxy", "cxcywh"))

    def forward(self, logits: Tensor, deltas: Tensor) -> tuple[Tensor, ...]:
        return decode(logits, deltas, self.anchors, SIZE, *self.limits)


LIMITS = {
    "paper": Limits(),
    "few": Limits(score=0.2, iou=0.3, top=7, pre_nms_per_class=30, keep_per_class=4),
}


@pytest.fixture(scope="module", params=LIMITS)
def limits(request: pytest.FixtureRequest) -> Limits:
    return LIMITS[request.param]


@pytest.fixture(scope="module")
def onnx_file(limits: Limits, tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("decode") / "decode.onnx"
    logits, deltas = draw_case("distinct", 2)
    trace(Decode(limits).eval(), {"logits": logits, "deltas": deltas}, OUTPUTS).save(path)
    return path


@pytest.fixture(scope="module", params=["onnxruntime", "openvino"])
def run(onnx_file: Path, request: pytest.FixtureRequest) -> Run:
    if request.param == "openvino":
        model = read_exported(onnx_file)
        compiled = openvino.compile_model(model, "CPU", {"INFERENCE_PRECISION_HINT": "f32"})
        return lambda logits, deltas: {
            name: compiled([logits.numpy(), deltas.numpy()])[name] for name in OUTPUTS
        }
    session = onnxruntime.InferenceSession(onnx_file, providers=["CPUExecutionProvider"])
    return lambda logits, deltas: dict(
        zip(
            OUTPUTS,
            session.run(OUTPUTS, {"logits": logits.numpy(), "deltas": deltas.numpy()}),
            strict=True,
        )
    )


@pytest.mark.parametrize("images", [1, 3])
@pytest.mark.parametrize("case", CASES)
def test_a_file_gives_what_the_greedy_definition_gives(
    run: Run, limits: Limits, case: str, images: int
) -> None:
    logits, deltas = draw_case(case, images)
    found = run(logits, deltas)
    shapes = [(images, limits.top, 4), (images, limits.top), (images, limits.top), (images,)]
    assert [found[name].shape for name in OUTPUTS] == shapes
    for image in range(images):
        boxes, labels, scores = decode_with_loops(
            logits[image], deltas[image], draw_anchors(), SIZE, limits
        )
        count = int(found["count"][image])
        np.testing.assert_array_equal(found["labels"][image, :count], labels)
        # Exponentials differ by a unit in the last place between libraries.
        np.testing.assert_allclose(found["scores"][image, :count], scores, rtol=1e-5)
        np.testing.assert_allclose(found["boxes"][image, :count], boxes, rtol=1e-5, atol=1e-4)
        assert not any(found[name][image, count:].any() for name in OUTPUTS[:3])
