"""The content of a view, one output pixel at a time."""

import math

import numpy as np

from blitznet.data.geometry import CropWindow


def nearest_view(
    pixels: np.ndarray, view: CropWindow, size: int, fill: int | tuple[int, ...]
) -> np.ndarray:
    """Each pixel is the source pixel under its centre, or `fill` if it is not all on the image.

    Args:
        pixels: (H, W) or (H, W, 3) uint8.
        view: in pixels of it.
        size: S.
        fill: of the places beyond the image.

    Returns:
        (S, S) or (S, S, 3) uint8.
    """
    height, width = pixels.shape[:2]
    out = np.empty((size, size, *pixels.shape[2:]), np.uint8)
    for row in range(size):
        for column in range(size):
            x, on_x = _centre(column, view.x1, view.width / size, width)
            y, on_y = _centre(row, view.y1, view.height / size, height)
            target = size - 1 - column if view.flip else column
            out[row, target] = pixels[math.floor(y), math.floor(x)] if on_x and on_y else fill
    return out


def bilinear_view(
    pixels: np.ndarray, view: CropWindow, size: int, fill: int | tuple[int, ...]
) -> np.ndarray:
    """Like `nearest_view`, but each pixel is the mean of its neighbours under a triangle.

    The triangle reaches one pixel of the result or of the source, whichever is larger, to both
    sides; beyond the edge of the image there is nothing to average.

    Returns:
        (S, S) or (S, S, 3) float, not rounded.
    """
    height, width = pixels.shape[:2]
    out = np.empty((size, size, *pixels.shape[2:]))
    for row in range(size):
        for column in range(size):
            x, on_x = _centre(column, view.x1, view.width / size, width)
            y, on_y = _centre(row, view.y1, view.height / size, height)
            target = size - 1 - column if view.flip else column
            if not (on_x and on_y):
                out[row, target] = fill
                continue
            total, weight = 0.0, 0.0
            for j, weight_y in _triangle(y, view.height / size, height):
                for i, weight_x in _triangle(x, view.width / size, width):
                    total = total + weight_x * weight_y * pixels[j, i].astype(float)
                    weight += weight_x * weight_y
            out[row, target] = total / weight
    return out


def _centre(index: int, start: float, step: float, length: int) -> tuple[float, bool]:
    """The source position of a pixel's centre, and whether the pixel lies on the image."""
    first, last = start + index * step, start + (index + 1) * step
    return start + (index + 0.5) * step, first >= -1e-6 * step and last <= length + 1e-6 * step


def _triangle(centre: float, step: float, length: int) -> list[tuple[int, float]]:
    reach = max(step, 1.0)
    weights = [(i, 1 - abs(i + 0.5 - centre) / reach) for i in range(length)]
    return [(i, weight) for i, weight in weights if weight > 0]
