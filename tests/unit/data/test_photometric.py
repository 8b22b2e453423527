"""Colour maps: compared with formulas, with torchvision where it agrees, and with slow twins."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms.v2 import functional as tv

from blitznet.data.photometric import (
    BRIGHTNESS,
    ColourMap,
    brightness,
    compose,
    contrast,
    draw_distortion,
    hue,
    mean_colour,
    saturation,
)
from blitznet.data.photometric import apply_colour_map as apply_to_image

LUMA = np.array([0.299, 0.587, 0.114])


@pytest.fixture
def image() -> np.ndarray:
    """(16, 20, 3) uint8 with every third value dark, middle or bright."""
    return np.random.default_rng(3).integers(0, 256, (16, 20, 3), np.uint8)


def apply_colour_map(image: np.ndarray, colour_map: ColourMap) -> np.ndarray:
    """(H, W, 3) uint8 to the same."""
    return np.asarray(apply_to_image(Image.fromarray(image), colour_map))


def apply_exactly(colours: np.ndarray, colour_map: ColourMap) -> np.ndarray:
    """(..., 3) float to the same, neither rounded nor clipped."""
    matrix, offset = colour_map
    return colours @ matrix.T + offset


def apply_torchvision(
    image: np.ndarray, function: Callable[[torch.Tensor, float], torch.Tensor], factor: float
) -> np.ndarray:
    """Apply torchvision's function to floats in 0..1, because it rounds eight bits down."""
    channels_first = torch.from_numpy(image).permute(2, 0, 1) / 255
    return function(channels_first, factor).permute(1, 2, 0).numpy() * 255


def identity() -> ColourMap:
    return np.eye(3), np.zeros(3)


def test_brightness_adds_a_part_of_the_full_range_and_clips() -> None:
    image = np.array([[[0, 100, 240]]], np.uint8)
    assert apply_colour_map(image, brightness(20 / 255)).tolist() == [[[20, 120, 255]]]
    assert apply_colour_map(image, brightness(-20 / 255)).tolist() == [[[0, 80, 220]]]


def test_contrast_scales_the_distance_to_the_mean_of_each_channel() -> None:
    image = np.array([[[200, 40, 90]]], np.uint8)
    mean = np.array([100.0, 50.0, 90.0])
    assert apply_colour_map(image, contrast(0.5, mean)).tolist() == [[[150, 45, 90]]]
    assert apply_colour_map(image, contrast(1.5, mean)).tolist() == [[[250, 35, 90]]]


def test_saturation_scales_the_distance_to_the_luma() -> None:
    red = np.array([[[200, 0, 0]]], np.uint8)  # luma 59.8
    assert apply_colour_map(red, saturation(0)).tolist() == [[[60, 60, 60]]]
    assert apply_colour_map(red, saturation(0.5)).tolist() == [[[130, 30, 30]]]


def test_half_a_turn_of_hue_mirrors_colours_at_their_luma() -> None:
    colours = np.array([[200.0, 10.0, 30.0], [50.0, 60.0, 70.0]])
    luma = (colours @ LUMA)[:, None]
    # The published coefficients of YIQ have four digits.
    np.testing.assert_allclose(apply_exactly(colours, hue(0.5)), 2 * luma - colours, atol=0.05)


def test_turns_of_hue_add_up_and_a_full_one_is_none() -> None:
    colours = np.random.default_rng(0).uniform(0, 255, (50, 3))
    np.testing.assert_allclose(apply_exactly(colours, hue(1)), colours, atol=1e-9)
    thirds = colours
    for turn in (0.1, 0.25, -0.3):
        thirds = apply_exactly(thirds, hue(turn))
    np.testing.assert_allclose(thirds, apply_exactly(colours, hue(0.05)), atol=1e-9)


@pytest.mark.parametrize("colour_map", [hue(0.07), hue(-0.3), saturation(0.4), saturation(1.5)])
def test_hue_and_saturation_keep_the_luma_and_all_greys(colour_map: ColourMap) -> None:
    colours = np.random.default_rng(0).uniform(0, 255, (50, 3))
    np.testing.assert_allclose(apply_exactly(colours, colour_map) @ LUMA, colours @ LUMA, atol=0.05)
    greys = np.linspace(0, 255, 6)[:, None].repeat(3, axis=1)
    np.testing.assert_allclose(apply_exactly(greys, colour_map), greys, atol=0.05)


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.0, 1.5])
def test_saturation_equals_torchvisions(image: np.ndarray, factor: float) -> None:
    expected = apply_torchvision(image, tv.adjust_saturation, factor)
    # Rounding, and torchvision's luma with 0.2989 for 0.299.
    np.testing.assert_allclose(apply_colour_map(image, saturation(factor)), expected, atol=0.6)


@pytest.mark.parametrize("factor", [0.5, 0.8, 1.0, 1.5])
def test_contrast_of_a_grey_image_equals_torchvisions(image: np.ndarray, factor: float) -> None:
    grey = image[..., :1].repeat(3, axis=2)  # torchvision takes the mean luma, we the mean colour
    expected = apply_torchvision(grey, tv.adjust_contrast, factor)
    colour_map = contrast(factor, grey.mean(axis=(0, 1)))
    np.testing.assert_allclose(apply_colour_map(grey, colour_map), expected, atol=0.6)


@pytest.mark.parametrize("seed", range(10))
def test_a_map_is_applied_as_its_formula_says(image: np.ndarray, seed: int) -> None:
    colour_map = draw_distortion(image.mean(axis=(0, 1)), np.random.default_rng(seed))
    result = apply_colour_map(image, colour_map)
    assert result.dtype == np.uint8
    exact = apply_exactly(image.astype(float), colour_map).clip(0, 255)
    # To the nearest grey level; Pillow's coefficients are single precision.
    np.testing.assert_allclose(result, exact, atol=0.501)


def test_composed_steps_equal_steps_one_after_another() -> None:
    colours = np.random.default_rng(1).uniform(0, 255, (200, 3))
    steps: list[Callable[[np.ndarray], ColourMap]] = [
        lambda mean: contrast(1.4, mean),
        lambda _: hue(0.06),
        lambda _: brightness(-0.1),
        lambda mean: contrast(0.6, mean),
        lambda _: saturation(1.3),
    ]
    expected = colours
    for step in steps:
        expected = apply_exactly(expected, step(expected.mean(axis=0)))
    composed = compose(steps, colours.mean(axis=0))
    np.testing.assert_allclose(apply_exactly(colours, composed), expected, atol=1e-9)


def test_the_mean_colour_is_numpys_to_the_last_bit(image: np.ndarray) -> None:
    np.testing.assert_array_equal(mean_colour(Image.fromarray(image)), image.mean(axis=(0, 1)))


def test_no_steps_change_nothing(image: np.ndarray) -> None:
    matrix, offset = compose([], image.mean(axis=(0, 1)))
    np.testing.assert_array_equal(matrix, identity()[0])
    np.testing.assert_array_equal(offset, identity()[1])
    np.testing.assert_array_equal(apply_colour_map(image, (matrix, offset)), image)


def test_a_drawn_distortion_moves_the_mean_grey_by_the_brightness_alone() -> None:
    grey = np.full(3, 128.0)
    shifts = []
    for seed in range(200):
        colour_map = draw_distortion(grey, np.random.default_rng(seed))
        (red, green, blue) = apply_exactly(grey, colour_map) - grey
        assert red == pytest.approx(green, abs=0.05) == pytest.approx(blue, abs=0.05)
        shifts.append(red)
    limit = BRIGHTNESS * 255
    assert -limit - 0.05 <= min(shifts) < -0.9 * limit
    assert 0.9 * limit < max(shifts) <= limit + 0.05


def test_the_order_of_the_steps_is_drawn_too(monkeypatch: pytest.MonkeyPatch) -> None:
    orders = set()
    for name in ("brightness", "contrast", "saturation", "hue"):

        def note(*_: object, name: str = name) -> ColourMap:
            order.append(name)
            return identity()

        monkeypatch.setattr(f"blitznet.data.photometric.{name}", note)
    for seed in range(300):
        order: list[str] = []
        draw_distortion(np.zeros(3), np.random.default_rng(seed))
        orders.add(tuple(order))
    assert len(orders) == 24
