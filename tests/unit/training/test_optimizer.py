"""The learning rate, step by step."""

import math

import pytest

from blitznet.training.optimizer import learning_rate
from blitznet.training.recipe import RECIPES
from fixtures.tiny_run import tiny_recipe

PAPER = RECIPES["paper"]


def test_the_papers_rate_is_divided_by_ten_at_each_drop() -> None:
    rates = {0: 1e-4, 34_999: 1e-4, 35_000: 1e-5, 49_999: 1e-5, 50_000: 1e-6, 64_999: 1e-6}
    for step, rate in rates.items():
        assert learning_rate(PAPER, step) == pytest.approx(rate, rel=1e-12)


def test_warming_up_rises_in_equal_parts_to_the_rate_of_its_last_step() -> None:
    recipe = tiny_recipe(lr=1.0, warmup_steps=4, steps=12)
    assert [learning_rate(recipe, step) for step in range(4)] == [0.25, 0.5, 0.75, 1.0]


def test_the_cosine_begins_at_the_peak_and_ends_at_zero() -> None:
    recipe = tiny_recipe(lr=1.0, warmup_steps=4, steps=16)  # 12 steps of cosine
    expected = {
        4: 1.0,
        8: 0.75,  # a third: (1 + cos 60) / 2
        10: 0.5,
        12: 0.25,
        15: (1 - math.cos(math.pi / 12)) / 2,
        16: 0.0,
    }
    for step, rate in expected.items():
        assert learning_rate(recipe, step) == pytest.approx(rate, abs=1e-15)


def test_drops_come_after_warming_up_and_do_not_scale_it() -> None:
    recipe = tiny_recipe(lr=1.0, schedule="drops", warmup_steps=2, lr_drops=(1, 3), steps=6)
    rates = [learning_rate(recipe, step) for step in range(5)]
    assert rates == pytest.approx([0.5, 1.0, 0.1, 0.01, 0.01], rel=1e-12)


def test_a_short_run_warms_up_for_a_third_of_it() -> None:
    recipe = tiny_recipe(lr=1.0, warmup_steps=200, steps=6)
    rates = [learning_rate(recipe, step) for step in range(4)]
    assert rates == pytest.approx([1 / 2, 1, 1, (1 + math.cos(math.pi / 4)) / 2])
    assert tiny_recipe(warmup_steps=200, steps=600).fitted_warmup_steps == 200


def test_a_run_of_one_step_takes_it_at_full_rate() -> None:
    assert learning_rate(tiny_recipe(lr=1.0, warmup_steps=3, steps=1), 0) == 1.0
