"""Optimisation and model setup, with the schedule of section 4.3."""

import pytest
import torch

from blitznet.losses.multibox import NEGATIVE_RATIO
from blitznet.model.blitznet import BlitzNet
from blitznet.model_info import BLITZNET300, MODELS
from blitznet.training.optimizer import build_optimizer, learning_rate
from blitznet.training.recipe import RECIPES
from fixtures.tiny_run import TINY

PAPER = RECIPES["paper"]


def test_adam_with_32_images_and_a_weight_decay_of_5e_4() -> None:
    optimizer = build_optimizer(BlitzNet(TINY), PAPER)
    assert type(optimizer) is torch.optim.Adam
    assert {group["weight_decay"] for group in optimizer.param_groups} == {5e-4}
    assert PAPER.global_batch_size == 32


def test_voc07_is_65_000_steps_with_drops_by_ten_after_35_000_and_50_000() -> None:
    assert PAPER.steps == 65_000
    rates = {step: learning_rate(PAPER, step) for step in (0, 34_999, 35_000, 49_999)}
    assert rates == pytest.approx({0: 1e-4, 34_999: 1e-4, 35_000: 1e-5, 49_999: 1e-5})
    assert learning_rate(PAPER, 50_000) == pytest.approx(1e-6)
    assert learning_rate(PAPER, 64_999) == pytest.approx(1e-6)


def test_nothing_that_the_paper_does_not_mention_is_in_its_recipe() -> None:
    assert PAPER.model == BLITZNET300
    assert PAPER.precision == "fp32"
    assert PAPER.freeze_stride == PAPER.warmup_steps == 0
    assert PAPER.clip_grad_norm is PAPER.ema_decay is None


@pytest.mark.parametrize(
    ("name", "size", "stride", "fusion"),
    [
        ("blitznet300", 300, 4, "resskip"),
        ("blitznet300-s8", 300, 8, "resskip"),
        ("blitznet512", 512, 8, "resskip"),
        ("blitznet512-s4", 512, 4, "resskip"),
        ("ssd300", 300, 8, None),  # the baselines of table 1 detect only
        ("ssd512", 512, 8, None),
    ],
)
def test_networks_are_resnet_50_with_512_maps_a_stream_and_64_a_segmentation_branch(
    name: str, size: int, stride: int, fusion: str | None
) -> None:
    config = MODELS[name]
    assert config.backbone == "resnet50"
    assert (config.downscale_width, config.upscale_width, config.seg_width) == (512, 512, 64)
    assert (config.image_size, config.finest_stride, config.fusion) == (size, stride, fusion)
    assert (config.detect, config.segment) == (True, fusion is not None)
    assert config.num_classes == 21


def test_three_negatives_for_every_positive() -> None:
    assert NEGATIVE_RATIO == 3
