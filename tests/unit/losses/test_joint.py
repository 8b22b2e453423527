from collections.abc import Callable
from dataclasses import replace
from itertools import product

import pytest
import torch
from torch import Tensor

from blitznet.classes import IGNORE_INDEX
from blitznet.detection.anchors import anchors_of
from blitznet.losses.joint import count_labels, joint_loss
from blitznet.losses.multibox import multibox_loss, multibox_targets
from blitznet.losses.segmentation import segmentation_loss
from blitznet.model.blitznet import BlitzNet, normalize_images
from blitznet.model_info import ModelConfig
from blitznet.structures import Batch, RawPredictions
from labelled_batch import labelled_batch


@pytest.fixture
def batch(tiny_config: ModelConfig, rng: torch.Generator) -> Batch:
    return labelled_batch(tiny_config, rng)


@pytest.fixture
def anchors(tiny_config: ModelConfig) -> Tensor:
    return anchors_of(tiny_config)


@pytest.fixture
def raw(rng: torch.Generator) -> RawPredictions:
    """Predictions of the tiny network for two images, in float64."""
    shapes = (2, 510, 3), (2, 510, 4), (2, 3, 8, 8)
    tensors = (torch.randn(shape, generator=rng, dtype=torch.float64) for shape in shapes)
    return RawPredictions(*(tensor.requires_grad_() for tensor in tensors))


def gradients(total: Tensor, raw: RawPredictions) -> tuple[Tensor, ...]:
    return torch.autograd.grad(total, [tensor for tensor in raw if tensor is not None])


def without_boxes(batch: Batch, *images: int) -> Batch:
    has_boxes = batch.has_boxes.clone()
    has_boxes[list(images)] = False
    return replace(batch, has_boxes=has_boxes)


def without_maps(batch: Batch, *images: int) -> Batch:
    seg_maps = batch.seg_maps.clone()
    seg_maps[list(images)] = IGNORE_INDEX
    return replace(batch, seg_maps=seg_maps)


def without_objects(batch: Batch) -> Batch:
    """A labelled batch without objects, not even a column of padding."""
    return replace(batch, boxes=batch.boxes[:, :0], labels=batch.labels[:, :0])


def test_terms_are_sums_over_positives_and_pixels_divided_by_their_numbers(
    raw: RawPredictions, batch: Batch, anchors: Tensor
) -> None:
    targets = multibox_targets(anchors, batch.boxes, batch.labels, batch.has_boxes)
    class_sum, box_sum, num_positive = multibox_loss(raw.class_logits, raw.box_deltas, targets)
    pixel_sum, num_pixels = segmentation_loss(raw.seg_logits, batch.seg_maps)
    assert num_positive > 1
    assert 1 < num_pixels < 2 * 8 * 8
    terms = joint_loss(raw, batch, anchors)
    expected = (class_sum / num_positive, box_sum / num_positive, pixel_sum / num_pixels)
    torch.testing.assert_close(tuple(terms), expected)
    torch.testing.assert_close(terms.total, sum(expected))


def test_gradient_is_that_of_finite_differences(
    raw: RawPredictions, batch: Batch, anchors: Tensor
) -> None:
    targets = multibox_targets(anchors, batch.boxes, batch.labels, batch.has_boxes)
    some = torch.cat((targets.positive.any(dim=0).nonzero()[:4, 0], torch.arange(300, 303)))
    inputs = (
        raw.class_logits.detach()[:, some].requires_grad_(),
        raw.box_deltas.detach()[:, some].requires_grad_(),
        raw.seg_logits.detach()[..., :2, :2].requires_grad_(),
    )

    def total(*tensors: Tensor) -> Tensor:
        return joint_loss(RawPredictions(*tensors), batch, anchors[some].double()).total

    assert total(*inputs).dtype == torch.float64
    assert torch.autograd.gradcheck(total, inputs)


@pytest.mark.parametrize(("hide", "hidden"), [(without_maps, (2,)), (without_boxes, (0, 1))])
def test_image_without_labels_of_a_task_gives_its_head_no_gradient_and_changes_no_other(
    raw: RawPredictions,
    batch: Batch,
    anchors: Tensor,
    hide: Callable[[Batch, int], Batch],
    hidden: tuple[int, ...],
) -> None:
    full = gradients(joint_loss(raw, batch, anchors).total, raw)
    partial = gradients(joint_loss(raw, hide(batch, 0), anchors).total, raw)
    for head, (ours, reference) in enumerate(zip(partial, full, strict=True)):
        if head in hidden:
            assert not ours[0].any()
            assert ours[1].any()
        else:
            assert torch.equal(ours, reference)


@pytest.mark.parametrize(
    ("has_boxes", "has_objects", "has_maps"), list(product([True, False], repeat=3))
)
def test_term_without_any_label_costs_exactly_zero_and_reaches_every_parameter_with_zero(
    tiny_config: ModelConfig,
    batch: Batch,
    has_boxes: bool,
    has_objects: bool,
    has_maps: bool,
) -> None:
    torch.manual_seed(0)
    network = BlitzNet(tiny_config).train()
    batch = batch if has_boxes else without_boxes(batch, 0, 1)
    batch = batch if has_objects else without_objects(batch)
    batch = batch if has_maps else without_maps(batch, 0, 1)
    images = normalize_images(batch.images, tiny_config.mean, tiny_config.std)
    terms = joint_loss(network(images), batch, network.anchors)
    terms.total.backward()

    detects = has_boxes and has_objects
    has_cost = (detects, detects, has_maps)
    assert [term.item() != 0 for term in terms] == list(has_cost)
    learns = {"multibox_head": detects, "segmentation_head": has_maps}
    for name, parameter in network.named_parameters():
        part = name.partition(".")[0]
        assert parameter.grad is not None, name
        if not learns.get(part, detects or has_maps):
            assert torch.equal(parameter.grad, torch.zeros_like(parameter)), name
        elif not name.startswith("backbone."):  # where timm starts with silent branches
            assert parameter.grad.any(), name


def test_network_for_one_task_has_that_task_as_its_whole_loss(
    raw: RawPredictions, batch: Batch, anchors: Tensor
) -> None:
    both = joint_loss(raw, batch, anchors)
    boxes_only = joint_loss(raw._replace(seg_logits=None), batch, anchors)
    assert tuple(boxes_only) == (both.classification, both.box, 0)
    pixels_only = joint_loss(RawPredictions(None, None, raw.seg_logits), batch, anchors)
    assert tuple(pixels_only) == (0, 0, both.segmentation)
    assert torch.equal(pixels_only.total, both.segmentation)


def test_two_processes_that_share_their_counts_have_the_loss_and_gradient_of_one(
    raw: RawPredictions, batch: Batch, anchors: Tensor
) -> None:
    # Very unequal shares: the second process has no boxes at all, and most of its map is void.
    batch = without_boxes(batch, 1)
    batch.seg_maps[1, 20:] = IGNORE_INDEX
    joined = joint_loss(raw, batch, anchors)

    def loss_of(process: int, average_count: Callable[[Tensor], Tensor]) -> Tensor:
        own = RawPredictions(*(tensor[process : process + 1] for tensor in raw))
        return joint_loss(own, batch.split(2)[process], anchors, average_count).total

    counts: list[Tensor] = []  # of positives and pixels, of the first and the second process

    def record(count: Tensor) -> Tensor:
        counts.append(count)
        return count

    for process in (0, 1):
        loss_of(process, record)
    assert counts[2] == 0
    assert counts[1] > 2 * counts[3] > 0
    means = iter([(counts[0] + counts[2]) / 2, (counts[1] + counts[3]) / 2] * 2)
    mean_loss = (loss_of(0, lambda _: next(means)) + loss_of(1, lambda _: next(means))) / 2
    torch.testing.assert_close(mean_loss, joined.total)
    torch.testing.assert_close(gradients(mean_loss, raw), gradients(joined.total, raw))


def test_mean_of_the_counts_of_many_processes_may_be_below_one(
    raw: RawPredictions, batch: Batch, anchors: Tensor
) -> None:
    halved = joint_loss(raw, batch, anchors, lambda _: torch.tensor(0.5))
    whole = joint_loss(raw, batch, anchors, lambda _: torch.tensor(1.0))
    torch.testing.assert_close(halved.total, 2 * whole.total)


def test_half_precision_predictions_are_summed_in_single_precision(
    raw: RawPredictions, batch: Batch, anchors: Tensor
) -> None:
    half = RawPredictions(*(tensor.detach().bfloat16() for tensor in raw))
    single = RawPredictions(*(tensor.float() for tensor in half))
    for ours, reference in zip(
        joint_loss(half, batch, anchors), joint_loss(single, batch, anchors), strict=True
    ):
        assert ours.dtype == torch.float32
        assert torch.equal(ours, reference)


@pytest.mark.parametrize("fusion", ["resskip", None])
def test_labels_are_counted_beforehand_as_the_losses_count_them(
    tiny_config: ModelConfig,
    rng: torch.Generator,
    fusion: str | None,
) -> None:
    config = ModelConfig.model_validate(tiny_config.model_dump() | {"fusion": fusion})
    batch, network = labelled_batch(config, rng), BlitzNet(config)
    counted: list[Tensor] = []

    def note(count: Tensor) -> Tensor:
        counted.append(count)
        return count

    raw = network(normalize_images(batch.images, config.mean, config.std))
    joint_loss(raw, batch, network.anchors, note)
    counts = count_labels(batch, network.anchors, config.level_sizes[0])
    assert list(counts) == counted
    assert min(counts) > 0
    divided = joint_loss(raw, batch, network.anchors, note, counts)
    assert divided == joint_loss(raw, batch, network.anchors, note)
