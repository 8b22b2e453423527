import math

import pytest
import torch
from torch import Tensor

from blitznet.detection import box_coder


@pytest.fixture
def boxes_and_anchors(rng: torch.Generator) -> tuple[Tensor, Tensor]:
    """40 boxes and anchors, sides from 5 to 105, in float64."""
    corners = torch.rand(2, 40, 2, generator=rng, dtype=torch.float64) * 200
    sides = 5 + 100 * torch.rand(2, 40, 2, generator=rng, dtype=torch.float64)
    boxes, anchors = torch.cat((corners, corners + sides), dim=-1)
    return boxes, anchors


def test_deltas_of_a_box_are_the_ones_worked_out_by_hand() -> None:
    anchor = torch.tensor([[0.0, 0.0, 10.0, 20.0]])  # centre (5, 10)
    box = torch.tensor([[0.0, 0.0, 20.0, 10.0]])  # centre (10, 5): half a width right, a quarter up
    expected = torch.tensor([[10 * 0.5, 10 * -0.25, 5 * math.log(2), 5 * math.log(1 / 2)]])
    torch.testing.assert_close(box_coder.encode(box, anchor), expected)


def test_weights_are_the_inverse_of_the_variances_of_ssd() -> None:
    assert [1 / weight for weight in box_coder.WEIGHTS] == [0.1, 0.1, 0.2, 0.2]


def test_decoding_undoes_encoding(boxes_and_anchors: tuple[Tensor, Tensor]) -> None:
    boxes, anchors = boxes_and_anchors
    decoded = box_coder.decode(box_coder.encode(boxes, anchors), anchors)
    torch.testing.assert_close(decoded, boxes, rtol=1e-12, atol=1e-12)
    assert decoded.dtype == torch.float64


def test_an_anchor_itself_has_deltas_of_zero_and_zero_decodes_to_the_anchor(
    boxes_and_anchors: tuple[Tensor, Tensor],
) -> None:
    anchors = boxes_and_anchors[1].float()
    assert torch.equal(box_coder.encode(anchors, anchors), torch.zeros(40, 4))
    torch.testing.assert_close(box_coder.decode(torch.zeros(40, 4), anchors), anchors)


def test_coder_equals_torchvision(boxes_and_anchors: tuple[Tensor, Tensor]) -> None:
    utils = pytest.importorskip("torchvision.models.detection._utils")
    reference = utils.BoxCoder(box_coder.WEIGHTS)
    boxes, anchors = boxes_and_anchors
    deltas = box_coder.encode(boxes, anchors)
    torch.testing.assert_close(deltas, reference.encode_single(boxes, anchors))
    torch.testing.assert_close(
        box_coder.decode(deltas, anchors), reference.decode_single(deltas, anchors)
    )


def test_a_batch_is_coded_image_by_image(boxes_and_anchors: tuple[Tensor, Tensor]) -> None:
    boxes, anchors = boxes_and_anchors
    batch = torch.stack((boxes, boxes.flip(0)))
    deltas = box_coder.encode(batch, anchors)
    assert torch.equal(deltas[1], box_coder.encode(boxes.flip(0), anchors))
    assert torch.equal(box_coder.decode(deltas, anchors)[0], box_coder.decode(deltas[0], anchors))


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_box_of_any_predicted_size_is_finite(dtype: torch.dtype) -> None:
    anchors = torch.tensor([[0, 0, 100, 100]], dtype=dtype)
    deltas = torch.tensor([[0, 0, 1e4, -1e4]], dtype=dtype)
    x1, y1, x2, y2 = box_coder.decode(deltas, anchors)[0].float().tolist()
    # A thousand anchors wide, up to the type's rounding of exp(log(1000)).
    assert x2 - x1 == pytest.approx(100_000, rel=0.05)
    assert y1 == y2 == 50
