"""Classes that a source does not label get no gradient where it labels nothing."""

import pytest
import torch
from torch import Tensor

from blitznet.losses.joint import joint_loss
from blitznet.losses.multibox import MultiboxTargets, multibox_loss
from blitznet.losses.partial_labels import hide_unknown_classes
from blitznet.losses.segmentation import segmentation_loss
from blitznet.model.blitznet import BlitzNet
from fixtures.tiny_run import TINY
from labelled_batch import labelled_batch

KNOWN = torch.tensor([True, True, False, True])  # background, cat, dog (unknown), bus


def gradient(loss: Tensor, logits: Tensor) -> Tensor:
    (result,) = torch.autograd.grad(loss, logits)
    return result


def test_the_softmax_runs_over_the_known_classes_alone() -> None:
    logits = torch.tensor([[0.0, 1.0, 100.0, 2.0]], dtype=torch.float64)
    hidden = hide_unknown_classes(logits, torch.tensor([[True]]), KNOWN[None])
    expected = logits[:, KNOWN].softmax(dim=1)
    torch.testing.assert_close(hidden.softmax(dim=1)[:, KNOWN], expected, rtol=0, atol=1e-12)
    assert hidden.softmax(dim=1)[0, 2] == 0


def test_a_pixel_without_a_label_says_nothing_of_an_unknown_class() -> None:
    logits = torch.randn(1, 4, 2, 2, dtype=torch.float64, requires_grad=True)
    seg_map = torch.tensor([[[0, 0], [1, 255]]], dtype=torch.uint8)
    total, _ = segmentation_loss(logits, seg_map, KNOWN[None])
    grad = gradient(total, logits)[0]
    assert (grad[2, 0] == 0).all()  # background pixels, dog
    assert (grad[[0, 1, 3], 0] != 0).all()
    assert grad[2, 1, 0] > 0  # a cat is no dog
    assert (grad[:, 1, 1] == 0).all()  # void


def test_the_loss_of_known_classes_is_that_of_a_network_without_the_unknown_one() -> None:
    logits = torch.randn(2, 4, 3, 3, dtype=torch.float64)
    seg_maps = torch.tensor([0, 1, 3])[torch.randint(0, 3, (2, 3, 3))].to(torch.uint8)
    only_background = torch.zeros_like(seg_maps)
    total, count = segmentation_loss(logits, only_background, KNOWN.expand(2, -1))
    smaller, _ = segmentation_loss(logits[:, KNOWN], only_background)
    torch.testing.assert_close(total, smaller, rtol=1e-12, atol=0)
    assert count == 18
    everything = torch.ones(2, 4, dtype=torch.bool)
    torch.testing.assert_close(
        segmentation_loss(logits, seg_maps, everything)[0], segmentation_loss(logits, seg_maps)[0]
    )


def test_an_unmatched_anchor_says_nothing_of_an_unknown_class_and_a_matched_one_does() -> None:
    logits = torch.randn(2, 5, 4, dtype=torch.float64, requires_grad=True)
    labels = torch.tensor([[1, 0, 0, 0, 0], [3, 0, 0, 0, 0]])
    positive = labels > 0
    targets = MultiboxTargets(
        labels, torch.zeros(2, 5, 4, dtype=torch.float64), positive, ~positive
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
    assert (grad[1, kept[1]] != 0).all()  # the second picture's source labels everything


def test_gradients_are_exact() -> None:
    logits = torch.randn(1, 4, 2, 2, dtype=torch.float64, requires_grad=True)
    seg_map = torch.tensor([[[0, 1], [3, 0]]], dtype=torch.uint8)
    assert torch.autograd.gradcheck(
        lambda x: segmentation_loss(x, seg_map, KNOWN[None])[0], (logits,)
    )


@pytest.mark.parametrize("value", [1e4, -1e4])
def test_wild_logits_of_unknown_classes_change_nothing(value: float) -> None:
    logits = torch.zeros(1, 4, 1, 1, dtype=torch.float64)
    logits[:, 2] = value
    total, _ = segmentation_loss(logits, torch.zeros(1, 1, 1, dtype=torch.uint8), KNOWN[None])
    torch.testing.assert_close(total, torch.tensor(3.0, dtype=torch.float64).log())


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
