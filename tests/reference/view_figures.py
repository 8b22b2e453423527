"""Figures of views drawn by our policy and by torchvision's SSD transforms."""

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torchvision import tv_tensors
from torchvision.transforms import v2

from blitznet.data.geometry import CropWindow, has_centre_inside
from blitznet.data.ssd_policy import Augmentation, draw_iou_crop, draw_zoom_out

Image = tuple[tuple[int, int], np.ndarray]  # width and height, (G, 4) float32 boxes
DrawView = Callable[
    [tuple[int, int], np.ndarray], tuple[CropWindow, CropWindow]
]  # to canvas and view of it

FIGURES = ("zoom ratio", "area", "aspect", "visible share", "filled share", "boxes kept")


def draw_ours(
    size: tuple[int, int], boxes: np.ndarray, rng: np.random.Generator
) -> tuple[CropWindow, CropWindow]:
    """The steps of `draw_view`, with the canvas that lies between them."""
    augmentation = Augmentation()
    canvas = CropWindow(0, 0, *size)
    if rng.random() < augmentation.zoom_out_probability:
        canvas = draw_zoom_out(canvas, augmentation.zoom_out_max, rng)
    return canvas, draw_iou_crop(canvas, boxes, rng)


class TorchvisionViews:
    """Draws the parameters of RandomZoomOut and RandomIoUCrop, without pixels."""

    def __init__(self) -> None:
        self.zoom_out, self.crop = v2.RandomZoomOut(), v2.RandomIoUCrop()

    def __call__(self, size: tuple[int, int], boxes: np.ndarray) -> tuple[CropWindow, CropWindow]:
        """Canvas, and view of it, in pixels of the image."""
        width, height = size
        left = top = right = bottom = 0
        if torch.rand(1) < self.zoom_out.p:
            image = torch.empty((1, height, width), device="meta")
            left, top, right, bottom = self.zoom_out.make_params([image])["padding"]
        canvas = CropWindow(-left, -top, width + right, height + bottom)
        canvas_size = (height + top + bottom, width + left + right)
        moved = tv_tensors.BoundingBoxes(
            torch.from_numpy(boxes + np.array([left, top] * 2, np.float32)),
            format="XYXY",
            canvas_size=canvas_size,
        )
        image = tv_tensors.Image(torch.empty((1, *canvas_size), device="meta"))
        drawn = self.crop.make_params([image, moved])
        if not drawn:
            return canvas, canvas
        x1, y1 = drawn["left"] - left, drawn["top"] - top
        return canvas, CropWindow(x1, y1, x1 + drawn["width"], y1 + drawn["height"])


def view_figures(draw: DrawView, images: Sequence[Image], draws: int) -> dict[str, np.ndarray]:
    """FIGURES of as many views, the images taken in turns.

    Returns:
        (draws,) each: side of the canvas in sides of the image; area of the view in areas of the
        image; width over height of the view, relative to the image's; share of the image that
        is visible; share of the view that shows no image; share of the boxes kept.
    """
    rows = []
    for number in range(draws):
        size, boxes = images[number % len(images)]
        canvas, view = draw(size, boxes)
        width = max(min(view.x2, size[0]) - max(view.x1, 0), 0)
        height = max(min(view.y2, size[1]) - max(view.y1, 0), 0)
        shown, area, whole = width * height, view.width * view.height, size[0] * size[1]
        rows.append(
            (
                canvas.width / size[0],
                area / whole,
                view.width / view.height / (size[0] / size[1]),
                shown / whole,
                1 - shown / area,
                float(has_centre_inside(boxes, view).mean()),
            )
        )
    return dict(zip(FIGURES, np.array(rows).T, strict=True))


def ks_distance(a: np.ndarray, b: np.ndarray) -> float:
    """Kolmogorov-Smirnov distance: the largest between two empirical distributions."""
    places = np.concatenate((a, b))
    below_a = np.searchsorted(np.sort(a), places, side="right") / len(a)
    below_b = np.searchsorted(np.sort(b), places, side="right") / len(b)
    return float(np.abs(below_a - below_b).max())


def random_images(count: int, size: tuple[int, int] = (500, 375)) -> list[Image]:
    """Images of random sizes with 1 to 4 random boxes, always the same."""
    rng = np.random.default_rng(0)
    images = []
    for _ in range(count):
        sides = rng.uniform(0.05, 0.8, (rng.integers(1, 5), 2)) * size
        corners = rng.uniform(0, 1, sides.shape) * (np.array(size) - sides)
        images.append((size, np.concatenate((corners, corners + sides), 1).astype(np.float32)))
    return images
