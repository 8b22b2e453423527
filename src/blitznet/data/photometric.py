"""Photometric distortion as one affine transform of colours.

Brightness, contrast, saturation and hue are affine in RGB, so any sequence of them is one 3x4
matrix, drawn first and applied once to the network-sized image (D9).
"""

from collections.abc import Callable, Sequence

import numpy as np
from PIL import Image

BRIGHTNESS = 0.125  # of the full range
CONTRAST = 0.5
SATURATION = 0.5
HUE = 0.07  # of a full turn

_LUMA = np.array([0.299, 0.587, 0.114])
_RGB_TO_YIQ = np.array([_LUMA, [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]])
_YIQ_TO_RGB = np.linalg.inv(_RGB_TO_YIQ)

ColourMap = tuple[np.ndarray, np.ndarray]  # (3, 3) matrix and (3,) offset on RGB in 0..255


def brightness(delta: float) -> ColourMap:
    """Add `delta` of the full range."""
    return np.eye(3), np.full(3, delta * 255)


def contrast(factor: float, mean: np.ndarray) -> ColourMap:
    """Scale the distance to the image's mean colour."""
    return np.eye(3) * factor, (1 - factor) * mean


def saturation(factor: float) -> ColourMap:
    """Scale the distance to grey of the same luma."""
    return factor * np.eye(3) + (1 - factor) * np.outer(np.ones(3), _LUMA), np.zeros(3)


def hue(turn: float) -> ColourMap:
    """Rotate the chroma plane of YIQ by a fraction of a full turn."""
    sin, cos = np.sin(2 * np.pi * turn), np.cos(2 * np.pi * turn)
    rotation = np.array([[1, 0, 0], [0, cos, -sin], [0, sin, cos]])
    return _YIQ_TO_RGB @ rotation @ _RGB_TO_YIQ, np.zeros(3)


def draw_distortion(mean: np.ndarray, rng: np.random.Generator) -> ColourMap:
    """Draw a distortion for an image with a (3,) mean colour: four operations in random order."""
    delta = rng.uniform(-BRIGHTNESS, BRIGHTNESS)
    contrast_factor = rng.uniform(1 - CONTRAST, 1 + CONTRAST)
    saturation_factor = rng.uniform(1 - SATURATION, 1 + SATURATION)
    turn = rng.uniform(-HUE, HUE)
    steps: list[Callable[[np.ndarray], ColourMap]] = [
        lambda _: brightness(delta),
        lambda current_mean: contrast(contrast_factor, current_mean),
        lambda _: saturation(saturation_factor),
        lambda _: hue(turn),
    ]
    return compose([steps[index] for index in rng.permutation(4).tolist()], mean)


def compose(steps: Sequence[Callable[[np.ndarray], ColourMap]], mean: np.ndarray) -> ColourMap:
    """Compose steps into one colour map; each step receives the mean colour that reaches it.

    `mean` is the (3,) mean colour before the first step, 0..255.
    """
    matrix, offset = np.eye(3), np.zeros(3)
    for step in steps:
        step_matrix, step_offset = step(matrix @ mean + offset)
        matrix, offset = step_matrix @ matrix, step_matrix @ offset + step_offset
    return matrix, offset


def mean_colour(image: Image.Image) -> np.ndarray:
    """(3,) float64 mean of the pixels of an RGB image, 0..255."""
    counts = np.array(image.histogram(), np.int64).reshape(3, 256)
    return counts @ np.arange(256) / (image.width * image.height)


def apply_colour_map(image: Image.Image, colour_map: ColourMap) -> Image.Image:
    """Transform the colours of an RGB image, rounded and clipped to 0..255."""
    matrix, offset = colour_map
    coefficients = np.concatenate((matrix, offset[:, None]), axis=1).ravel().tolist()
    return image.convert("RGB", tuple(coefficients))
