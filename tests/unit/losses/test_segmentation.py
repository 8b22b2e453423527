import math

import pytest
import torch
from torch import Tensor

from blitznet.classes import IGNORE_INDEX
from blitznet.losses.segmentation import segmentation_loss
from reference.ssd_loss_loops import segmentation_loss_loops

NUM_CLASSES = 4


def random_maps(rng: torch.Generator, *shape: int) -> Tensor:
    """Maps in which about a quarter of the pixels is void."""
    maps = torch.randint(0, NUM_CLASSES, shape, generator=rng, dtype=torch.uint8)
    maps[torch.rand(shape, generator=rng) < 0.25] = IGNORE_INDEX
    return maps


def random_logits(rng: torch.Generator, *size: int) -> Tensor:
    logits = torch.randn(2, NUM_CLASSES, *size, generator=rng, dtype=torch.float64)
    return logits.requires_grad_()


def test_loss_of_two_pixels_is_the_one_worked_out_by_hand() -> None:
    odds = torch.tensor([[3.0, 1.0], [1.0, 1.0]])  # of both classes, at both pixels
    loss, count = segmentation_loss(odds.log().view(1, 2, 1, 2), torch.tensor([[[0, 1]]]).byte())
    assert loss.item() == pytest.approx(-math.log(3 / 4) - math.log(1 / 2))
    assert count.item() == 2


@pytest.mark.parametrize(
    ("logit_size", "map_size"),
    [
        ((5, 6), (5, 6)),
        ((4, 4), (16, 16)),
        ((38, 38), (300, 300)),
        ((7, 5), (17, 23)),
        ((6, 6), (3, 3)),
    ],
    ids=["equal", "a quarter", "blitznet300-s8", "odd", "up"],
)
def test_loss_equals_the_loop_over_pixels(
    rng: torch.Generator, logit_size: tuple[int, int], map_size: tuple[int, int]
) -> None:
    logits, maps = random_logits(rng, *logit_size), random_maps(rng, 2, *map_size)
    loss, count = segmentation_loss(logits, maps)
    expected_loss, expected_count = segmentation_loss_loops(logits.detach().numpy(), maps.numpy())
    # A sum of some thousand float64 terms in another order.
    assert loss.item() == pytest.approx(expected_loss, rel=1e-12)
    assert count.item() == expected_count


@pytest.mark.parametrize("dtype", [torch.int8, torch.int16, torch.int32, torch.int64])
def test_maps_of_any_integer_type_give_the_same_loss(
    rng: torch.Generator, dtype: torch.dtype
) -> None:
    logits, maps = random_logits(rng, 4, 4), random_maps(rng, 2, 16, 16)
    if dtype == torch.int8:
        maps[maps == IGNORE_INDEX] = 0  # 255 is beyond its range
    expected = segmentation_loss(logits, maps)
    assert segmentation_loss(logits, maps.to(dtype)) == expected


def test_gradient_is_that_of_finite_differences(rng: torch.Generator) -> None:
    logits, maps = random_logits(rng, 3, 3), random_maps(rng, 2, 6, 6)
    assert torch.autograd.gradcheck(lambda x: segmentation_loss(x, maps)[0], logits)


@pytest.mark.parametrize("extreme", [0.0, 1e4, -1e4])
def test_void_pixels_change_neither_loss_nor_gradient_whatever_their_logits(
    rng: torch.Generator, extreme: float
) -> None:
    logits, maps = random_logits(rng, 8, 8), random_maps(rng, 2, 8, 8)
    void = (maps == IGNORE_INDEX)[:, None].expand_as(logits)
    loss, _ = segmentation_loss(logits, maps)
    loss.backward()

    wild = logits.detach().clone()
    wild[void] *= extreme
    wild[:, 0][void[:, 0]] = extreme
    wild.requires_grad_()
    wild_loss, _ = segmentation_loss(wild, maps)
    wild_loss.backward()
    assert torch.equal(wild_loss, loss)
    assert torch.equal(wild.grad, logits.grad)
    assert not wild.grad[void].any()
    assert wild.grad[~void].all()


def test_certainty_costs_nothing_where_right_and_its_logit_where_wrong() -> None:
    logits = torch.zeros(1, 2, 1, 2)
    logits[0, 0] = 1e4
    loss, _ = segmentation_loss(logits, torch.tensor([[[0, 0]]]).byte())
    assert loss.item() == 0
    loss, _ = segmentation_loss(logits, torch.tensor([[[0, 1]]]).byte())
    assert loss.item() == 1e4
