from copy import deepcopy

import numpy as np
import pytest
import torch
from torch import Tensor

from blitznet.model.blitznet import BlitzNet, normalize_images
from blitznet.model.checkpoint import describe
from blitznet.model.pixel_network import PixelNetwork
from blitznet.structures import RawPredictions


def with_prior(network: BlitzNet) -> BlitzNet:
    copy = deepcopy(network)
    copy.config = copy.config.model_copy(update={"box_prior": True})
    return copy


@pytest.fixture
def pixels(rng: torch.Generator) -> Tensor:
    return torch.randint(0, 256, (3, 64, 64, 3), generator=rng, dtype=torch.uint8)


def assert_equal(found: RawPredictions, expected: RawPredictions) -> None:
    for one, other in zip(found, expected, strict=True):
        torch.testing.assert_close(one, other)


@torch.no_grad()
def test_pixels_are_normalised_like_images(tiny_network: BlitzNet, pixels: Tensor) -> None:
    config = tiny_network.config
    images = normalize_images(pixels.permute(0, 3, 1, 2), config.mean, config.std)
    assert_equal(PixelNetwork(tiny_network)(pixels), tiny_network(images))


@torch.no_grad()
def test_the_box_prior_multiplies_probabilities_by_the_best_score(
    tiny_network: BlitzNet, pixels: Tensor
) -> None:
    before = PixelNetwork(tiny_network)(pixels)
    after = PixelNetwork(with_prior(tiny_network), describe(tiny_network))(pixels)
    torch.testing.assert_close(after.class_logits, before.class_logits)
    torch.testing.assert_close(after.box_deltas, before.box_deltas)
    scores = before.class_logits.softmax(2).numpy()
    expected = before.seg_logits.softmax(1).numpy()
    for image in range(3):
        for label in range(1, tiny_network.config.num_classes):
            expected[image, label] *= max(scores[image, :, label])
    expected /= expected.sum(axis=1, keepdims=True)
    assert np.abs(expected - before.seg_logits.softmax(1).numpy()).max() > 0.05
    np.testing.assert_allclose(after.seg_logits.softmax(1).numpy(), expected, atol=1e-6)


@torch.no_grad()
def test_the_box_prior_spares_classes_without_labelled_boxes(
    tiny_network: BlitzNet, pixels: Tensor
) -> None:
    info, network = describe(tiny_network), with_prior(tiny_network)
    first, *others = info.names[1:]
    plain = PixelNetwork(network)(pixels).seg_logits
    full = PixelNetwork(network, info)(pixels).seg_logits
    info = info.model_copy(update={"supervised_boxes": others})
    found = PixelNetwork(network, info)(pixels).seg_logits
    label = info.names.index(first)
    assert plain is not None
    assert not torch.allclose(full[:, label], plain[:, label])
    torch.testing.assert_close(found[:, label], plain[:, label])
    keep = [one for one in range(len(info.names)) if one != label]
    torch.testing.assert_close(found[:, keep], full[:, keep])


@torch.no_grad()
def test_the_box_prior_of_a_very_small_score_is_finite(
    tiny_network: BlitzNet, pixels: Tensor
) -> None:
    network = with_prior(tiny_network)
    assert network.multibox_head is not None
    for layer in network.multibox_head.classify:
        layer.bias.data[1 :: network.config.num_classes] = -1e4  # type: ignore[operator, index, union-attr]
    assert PixelNetwork(network, describe(network))(pixels).seg_logits.isfinite().all()


@pytest.mark.parametrize("missing", ["multibox_head", "segmentation_head"])
@torch.no_grad()
def test_the_box_prior_needs_both_heads(
    missing: str, tiny_network: BlitzNet, pixels: Tensor
) -> None:
    network = with_prior(tiny_network)
    setattr(network, missing, None)
    assert_equal(PixelNetwork(network, describe(network))(pixels), PixelNetwork(network)(pixels))
