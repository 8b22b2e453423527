import pytest
import torch
from torch import Tensor

from blitznet.detection import box_coder
from blitznet.losses.multibox import (
    MultiboxTargets,
    mine_hard_negatives,
    multibox_loss,
    multibox_targets,
)
from blitznet.structures import IGNORE_LABEL, PADDING_LABEL
from reference.ssd_loss_loops import multibox_loss_loops
from tiny_network import anchors_of_levels

NUM_CLASSES = 4
HAS = torch.tensor([True])


@pytest.fixture
def anchors() -> Tensor:
    """126 anchors of a 64-pixel network, in float64."""
    return anchors_of_levels(64, [4, 2, 1], 0.15, 0.35, 0.9).double()


def random_batch(rng: torch.Generator) -> dict[str, Tensor]:
    """Four images: objects, padding and ignored boxes; the last one's boxes are not labelled."""
    corners = torch.rand(4, 6, 2, generator=rng, dtype=torch.float64) * 50
    sides = 3 + 40 * torch.rand(4, 6, 2, generator=rng, dtype=torch.float64)
    labels = torch.randint(IGNORE_LABEL, NUM_CLASSES, (4, 6), generator=rng)
    labels[2] = PADDING_LABEL
    return {
        "boxes": torch.cat((corners, corners + sides), dim=-1),
        "labels": labels,
        "has_boxes": torch.tensor([True, True, True, False]),
    }


def random_predictions(rng: torch.Generator, *shape: int) -> tuple[Tensor, Tensor]:
    class_logits = torch.randn(*shape, NUM_CLASSES, generator=rng, dtype=torch.float64)
    box_deltas = torch.randn(*shape, 4, generator=rng, dtype=torch.float64)
    return class_logits.requires_grad_(), box_deltas.requires_grad_()


@pytest.mark.parametrize("seed", range(6))
def test_loss_equals_the_equations_of_ssd_in_loops(anchors: Tensor, seed: int) -> None:
    rng = torch.Generator().manual_seed(seed)
    batch = random_batch(rng)
    class_logits, box_deltas = random_predictions(rng, 4, len(anchors))
    targets = multibox_targets(anchors, **batch)
    class_sum, box_sum, num_positive = multibox_loss(class_logits, box_deltas, targets)
    expected = multibox_loss_loops(
        class_logits.detach().numpy(),
        box_deltas.detach().numpy(),
        anchors.numpy(),
        batch["boxes"].numpy(),
        batch["labels"].numpy(),
        batch["has_boxes"].tolist(),
    )
    assert num_positive.item() == expected[2] > 0
    # Sums of a few hundred float64 terms in another order.
    assert (class_sum.item(), box_sum.item()) == pytest.approx(expected[:2], rel=1e-12)


def test_gradient_is_that_of_finite_differences(anchors: Tensor, rng: torch.Generator) -> None:
    targets = multibox_targets(anchors, **random_batch(rng))
    some = torch.cat((targets.positive.any(dim=0).nonzero()[:5, 0], torch.arange(80, 86)))
    targets = MultiboxTargets(*(field[:, some] for field in targets))
    assert targets.positive.any()
    assert targets.candidate.any()
    class_logits, box_deltas = random_predictions(rng, 4, len(some))

    def sums(class_logits: Tensor, box_deltas: Tensor) -> tuple[Tensor, Tensor]:
        return multibox_loss(class_logits, box_deltas, targets)[:2]

    assert torch.autograd.gradcheck(sums, (class_logits, box_deltas))


def test_only_positives_and_hard_negatives_get_a_gradient(
    anchors: Tensor, rng: torch.Generator
) -> None:
    batch = random_batch(rng)
    class_logits, box_deltas = random_predictions(rng, 4, len(anchors))
    with torch.no_grad():
        class_logits[:, ::7] *= 1e4
        box_deltas[:, ::5] *= 1e4
    targets = multibox_targets(anchors, **batch)
    class_sum, box_sum, _ = multibox_loss(class_logits, box_deltas, targets)
    (class_sum + box_sum).backward()
    assert class_logits.grad.isfinite().all()
    assert not box_deltas.grad[~targets.positive].any()
    assert box_deltas.grad[targets.positive].any(dim=1).all()
    ignored = ~targets.positive & ~targets.candidate
    assert ignored[:3].any()
    assert not class_logits.grad[ignored].any()
    num_negative = class_logits.grad[targets.candidate].any(dim=-1).sum()
    # A negative of overwhelming background logit costs exactly nothing, so there may be fewer.
    assert 0 < num_negative <= 3 * targets.positive.sum()


def test_targets_of_two_boxes_are_the_ones_worked_out_by_hand() -> None:
    anchors = torch.tensor(
        [
            [0.0, 0.0, 10.0, 10.0],
            [20.0, 20.0, 30.0, 30.0],
            [20.0, 20.0, 30.0, 31.0],
            [50.0, 50.0, 60.0, 60.0],
        ]
    )
    boxes = torch.tensor([[[0.0, 0.0, 10.0, 20.0], [20.0, 20.0, 30.0, 30.0], [0, 0, 0, 0]]])
    labels = torch.tensor([[3, IGNORE_LABEL, PADDING_LABEL]])
    targets = multibox_targets(anchors, boxes, labels, HAS)
    assert targets.labels.tolist() == [[3, 0, 0, 0]]
    assert targets.positive.tolist() == [[True, False, False, False]]
    assert targets.candidate.tolist() == [[False, False, False, True]]
    assert torch.equal(targets.box_deltas[0, 0], box_coder.encode(boxes[0, :1], anchors[:1])[0])
    unlabelled = multibox_targets(anchors, boxes, labels, ~HAS)
    assert not unlabelled.positive.any()
    assert not unlabelled.candidate.any()


def test_padding_of_any_kind_leaves_the_targets_finite(anchors: Tensor) -> None:
    boxes = torch.tensor([[[0.0, 0.0, 0.0, 0.0], [5.0, 5.0, 5.0, 9.0]]], dtype=torch.float64)
    for label in (PADDING_LABEL, IGNORE_LABEL, 1):
        targets = multibox_targets(anchors, boxes, torch.full((1, 2), label), HAS)
        assert targets.box_deltas.isfinite().all()
        assert not targets.positive.any()


def test_mined_negatives_are_the_hardest_candidates_three_a_positive_of_the_same_image() -> None:
    class_loss = torch.tensor([[9, 8, 7, 6, 5, 4, 3, 2.0], [1, 2, 3, 4, 5, 6, 7, 8.0]])
    positive = torch.tensor([[0, 1, 0, 0, 0, 0, 0, 0], [0] * 8]).bool()
    candidate = torch.tensor([[0, 0, 1, 0, 1, 1, 1, 1], [1] * 8]).bool()
    mined = mine_hard_negatives(class_loss, positive, candidate)
    assert mined.nonzero().tolist() == [[0, 2], [0, 4], [0, 5]]


def test_a_minimum_of_negatives_holds_for_images_without_objects_too() -> None:
    class_loss = torch.tensor([[9, 8, 7, 6, 5, 4, 3, 2.0], [1, 2, 3, 4, 5, 6, 7, 8.0]])
    positive = torch.tensor([[0, 1, 0, 0, 0, 0, 0, 0], [0] * 8]).bool()
    mined = mine_hard_negatives(class_loss, positive, ~positive, min_negatives=2)
    assert mined.nonzero().tolist() == [[0, 0], [0, 2], [0, 3], [1, 6], [1, 7]]


def test_of_equal_losses_the_earlier_anchors_are_mined() -> None:
    positive = torch.zeros(1, 3000, dtype=torch.bool)
    positive[0, 2] = True
    mined = mine_hard_negatives(torch.zeros(1, 3000), positive, ~positive)
    assert mined.nonzero()[:, 1].tolist() == [0, 1, 3]


def test_fewer_candidates_than_three_a_positive_are_all_mined() -> None:
    positive = torch.tensor([[1, 1, 0, 0, 0]]).bool()
    assert torch.equal(mine_hard_negatives(torch.zeros(1, 5), positive, ~positive), ~positive)


def test_perfect_predictions_cost_next_to_nothing_and_wrong_ones_what_their_logits_say(
    anchors: Tensor, rng: torch.Generator
) -> None:
    targets = multibox_targets(anchors, **random_batch(rng))
    right = torch.nn.functional.one_hot(targets.labels, NUM_CLASSES) * 1e4
    class_sum, box_sum, num_positive = multibox_loss(right, targets.box_deltas, targets)
    assert (class_sum.item(), box_sum.item()) == (0, 0)
    # Every kept anchor is wrong by 1e4: all positives, and three negatives for each of them.
    candidates = targets.candidate.sum(dim=1)
    assert (candidates[:2] >= 3 * targets.positive.sum(dim=1)[:2]).all()
    class_sum, _, _ = multibox_loss(-right, targets.box_deltas, targets)
    assert class_sum.item() == pytest.approx(4 * num_positive.item() * 1e4, rel=1e-3)
