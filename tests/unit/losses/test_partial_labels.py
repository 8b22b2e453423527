"""Classes that a source does not label get no gradient where it labels nothing."""

import pytest
import torch
from torch import Tensor

from blitznet.losses.joint import joint_loss
from blitznet.losses.multibox import MultiboxTargets, multibox_loss
from blitznet.losses.partial_labels import merge_unknown_classes
from blitznet.losses.segmentation import segmentation_loss
from blitznet.model.blitznet import BlitzNet
from fixtures.tiny_run import TINY
from labelled_batch import labelled_batch

KNOWN = torch.tensor([True, True, False, True])  # background, cat, dog (unknown), bus


def gradient(loss: Tensor, logits: Tensor) -> Tensor:
    (result,) = torch.autograd.grad(loss, logits)
    return result


def test_background_stands_for_the_unknown_classes() -> None:
    logits = torch.tensor([[0.0, 1.0, 3.0, 2.0]], dtype=torch.float64)
    merged = merge_unknown_classes(logits, torch.tensor([True]), KNOWN[None]).softmax(dim=1)
    whole = logits.softmax(dim=1)
    expected = torch.stack((whole[0, 0] + whole[0, 2], whole[0, 1], whole[0, 2] * 0, whole[0, 3]))
    torch.testing.assert_close(merged[0], expected, rtol=0, atol=1e-12)
    labelled = merge_unknown_classes(logits, torch.tensor([False]), KNOWN[None])
    assert torch.equal(labelled, logits)


def test_background_is_not_preferred_to_an_unknown_class_that_the_network_sees() -> None:
    seen, unseen = (
        torch.tensor([0.0, 0.0, dog, 0.0], dtype=torch.float64).view(1, 4, 1, 1).requires_grad_()
        for dog in (8.0, -8.0)
    )
    seg_map = torch.zeros(1, 1, 1, dtype=torch.uint8)
    pulls = [
        gradient(segmentation_loss(logits, seg_map, KNOWN[None])[0], logits)[0, 0].item()
        for logits in (seen, unseen)
    ]
    assert abs(pulls[0]) < 1e-3 * abs(pulls[1])


def test_a_pixel_without_a_label_says_nothing_of_an_unknown_class() -> None:
    logits = torch.randn(1, 4, 2, 2, dtype=torch.float64, requires_grad=True)
    seg_map = torch.tensor([[[0, 0], [1, 255]]], dtype=torch.uint8)
    total, _ = segmentation_loss(logits, seg_map, KNOWN[None])
    grad = gradient(total, logits)[0]
    assert (grad[2, 0] == 0).all()  # background pixels, dog
    assert (grad[[0, 1, 3], 0] != 0).all()
    assert grad[2, 1, 0] > 0  # a cat is no dog
    assert (grad[:, 1, 1] == 0).all()  # void


def test_knowing_every_class_changes_nothing() -> None:
    logits = torch.randn(2, 4, 3, 3, dtype=torch.float64)
    seg_maps = torch.randint(0, 4, (2, 3, 3)).to(torch.uint8)
    everything = torch.ones(2, 4, dtype=torch.bool)
    torch.testing.assert_close(
        segmentation_loss(logits, seg_maps, everything)[0], segmentation_loss(logits, seg_maps)[0]
    )


def test_an_unmatched_anchor_says_nothing_of_an_unknown_class_and_a_matched_one_does() -> None:
    logits = torch.randn(2, 5, 4, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([[1, 0, 0, 0, 0], [3, 0, 0, 0, 0]])
    positive = labels > 0
    targets = MultiboxTargets(
        labels, torch.zeros(2, 5, 4, dtype=torch.float64), positive, ~positive, labels
    )
    known = torch.stack((KNOWN, torch.ones(4, dtype=torch.bool)))
    total, _, _ = multibox_loss(logits, torch.zeros(2, 5, 4, dtype=torch.float64), targets, known)
    grad = gradient(total, logits)
    kept = (grad != 0).any(dim=-1)
    assert kept.sum(dim=1).tolist() == [4, 4]  # one positive, three negatives each
    unmatched = kept[0] & ~positive[0]
    assert (grad[0, unmatched, 2] == 0).all()
    assert (grad[0, unmatched][:, [0, 1, 3]] != 0).all()
    assert grad[0, 0, 2] > 0
    assert (grad[1, kept[1]] != 0).all()  # the second image's source labels everything


def test_gradients_of_the_known_classes_are_those_of_the_formula() -> None:
    logits = torch.randn(1, 4, 2, 2, dtype=torch.float64)
    seg_map = torch.tensor([[[0, 1], [3, 0]]], dtype=torch.uint8)

    def loss(known: torch.Tensor) -> Tensor:
        whole = torch.stack((known[:, 0], known[:, 1], logits[:, 2], known[:, 2]), dim=1)
        return segmentation_loss(whole, seg_map, KNOWN[None])[0]

    assert torch.autograd.gradcheck(loss, (logits[:, KNOWN].requires_grad_(),))


@pytest.mark.parametrize(("value", "expected"), [(1e4, 0.0), (-1e4, 1.0986122886681098)])
def test_wild_logits_of_unknown_classes_stay_finite(value: float, expected: float) -> None:
    logits = torch.zeros(1, 4, 1, 1, dtype=torch.float64)
    logits[:, 2] = value
    logits.requires_grad_()
    total, _ = segmentation_loss(logits, torch.zeros(1, 1, 1, dtype=torch.uint8), KNOWN[None])
    assert total.item() == pytest.approx(expected)
    assert gradient(total, logits).isfinite().all()


def test_the_joint_loss_hands_the_known_classes_to_both_tasks() -> None:
    rng = torch.Generator().manual_seed(0)
    batch = labelled_batch(TINY, rng)
    batch.labels[:] = 1
    batch.seg_maps[:] = 0
    batch.known_classes = torch.zeros(2, TINY.num_classes, dtype=torch.bool)
    batch.known_classes[:, :2] = True
    network = BlitzNet(TINY)
    raw = network(batch.images.float() / 255)
    assert raw.class_logits is not None
    assert raw.seg_logits is not None
    terms = joint_loss(raw, batch, network.anchors)
    assert (gradient(terms.segmentation, raw.seg_logits)[:, 2:] == 0).all()
    known = gradient(joint_loss(raw, batch, network.anchors).classification, raw.class_logits)
    batch.known_classes = None
    everything = gradient(joint_loss(raw, batch, network.anchors).classification, raw.class_logits)
    assert (known[..., 2:] != 0).sum() < (everything[..., 2:] != 0).sum()
