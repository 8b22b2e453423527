"""Labels softened by a teacher: exact values, and cases without effect."""

import pytest
import torch
from torch import Tensor

from blitznet.detection.anchors import anchors_of
from blitznet.losses.distillation import TEACHER_WEIGHT, soften
from blitznet.losses.joint import joint_loss
from blitznet.losses.multibox import multibox_targets
from blitznet.model_info import ModelConfig
from blitznet.structures import Batch, RawPredictions, SoftLabels
from labelled_batch import labelled_batch


@pytest.fixture
def batch(tiny_config: ModelConfig, rng: torch.Generator) -> Batch:
    return labelled_batch(tiny_config, rng)


@pytest.fixture
def raw(rng: torch.Generator) -> RawPredictions:
    shapes = (2, 510, 3), (2, 510, 4), (2, 3, 8, 8)
    return RawPredictions(*(torch.randn(shape, generator=rng) for shape in shapes))


def test_a_softened_loss_is_the_cross_entropy_with_the_mean_of_labels_and_teacher() -> None:
    logits = torch.tensor([[2.0, 0.0, -1.0], [0.5, 0.5, 3.0]])
    labels, teacher = torch.tensor([0, 2]), torch.tensor([[0.6, 0.3, 0.1], [0.0, 0.0, 0.0]])
    hard = torch.nn.functional.cross_entropy(logits, labels, reduction="none")
    mixed = torch.tensor([1.0, 0, 0]) * (1 - TEACHER_WEIGHT) + teacher[0] * TEACHER_WEIGHT
    expected = torch.nn.functional.cross_entropy(logits[:1], mixed[None])
    softened = soften(hard, logits, teacher, class_dim=1)
    torch.testing.assert_close(softened[0], expected)
    assert softened[1] == hard[1]  # the teacher has nothing to say of it


def one_hot_teacher(batch: Batch) -> SoftLabels:
    """A teacher that agrees with the labels."""
    of_boxes = torch.nn.functional.one_hot(batch.labels.clamp(min=0), 3).float()
    of_pixels = torch.nn.functional.one_hot(batch.seg_maps.long() % 255, 3).movedim(3, 1).float()
    return SoftLabels(of_boxes, of_pixels)


def test_a_teacher_that_repeats_the_labels_changes_nothing(
    raw: RawPredictions, batch: Batch, tiny_config: ModelConfig
) -> None:
    # Maps of constant 8 x 8 blocks: resized bilinearly or by nearest neighbour, they are equal.
    batch.seg_maps[:] = batch.seg_maps[:, ::8, ::8].repeat_interleave(8, 1).repeat_interleave(8, 2)
    anchors = anchors_of(tiny_config)
    alone = joint_loss(raw, batch, anchors)
    taught = joint_loss(raw, batch, anchors, soft_labels=one_hot_teacher(batch))
    for before, after in zip(alone, taught, strict=True):
        torch.testing.assert_close(after, before)


def test_the_gradient_of_an_anchor_goes_half_way_to_the_teachers_class(
    raw: RawPredictions, batch: Batch, tiny_config: ModelConfig
) -> None:
    anchors = anchors_of(tiny_config)
    targets = multibox_targets(anchors, batch.boxes, batch.labels, batch.has_boxes)
    logits = torch.zeros_like(raw.class_logits).requires_grad_()
    of_boxes = torch.zeros(*batch.labels.shape, 3)
    of_boxes[..., 0] = 1  # takes everything for background
    terms = joint_loss(raw._replace(class_logits=logits), batch, anchors,
                       soft_labels=SoftLabels(of_boxes, None))  # fmt: skip
    (gradient,) = torch.autograd.grad(terms.classification * targets.positive.sum(), logits)
    image, anchor = targets.positive.nonzero()[0].tolist()
    expected = torch.full((3,), 1 / 3)
    expected[0] -= TEACHER_WEIGHT
    expected[targets.labels[image, anchor]] -= 1 - TEACHER_WEIGHT
    torch.testing.assert_close(gradient[image, anchor], expected)


def test_a_batch_without_objects_or_maps_still_costs_nothing(
    raw: RawPredictions, batch: Batch, tiny_config: ModelConfig
) -> None:
    batch.boxes, batch.labels = batch.boxes[:, :0], batch.labels[:, :0]
    batch.seg_maps[:] = 255
    soft: Tensor = torch.full((2, 3, 8, 8), 1 / 3)
    terms = joint_loss(raw, batch, anchors_of(tiny_config),
                       soft_labels=SoftLabels(soft.new_zeros(2, 0, 3), soft))  # fmt: skip
    assert [float(term) for term in terms] == [0, 0, 0]
