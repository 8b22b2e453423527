"""`blitznet bench views`: what our policy draws beside what torchvision's SSD transforms draw."""

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from rich.table import Table
from torchvision import tv_tensors
from torchvision.transforms import v2

from blitznet.data.description import read_description
from blitznet.data.geometry import View, has_centre_inside, whole_view
from blitznet.data.labels import read_objects
from blitznet.data.ssd_policy import Augmentation, draw_iou_crop, draw_zoom_out

Picture = tuple[tuple[int, int], np.ndarray]  # width and height, (G, 4) float32 boxes
DrawView = Callable[[tuple[int, int], np.ndarray], tuple[View, View]]  # to canvas and view of it

FIGURES = ("zoom ratio", "area", "aspect", "visible share", "filled share", "boxes kept")


def bench_views(data: Path | None, split: str, draws: int) -> dict[str, Any]:
    """Means and spread of both, and how far their distributions are apart.

    Args:
        data: description, whose pictures and boxes are drawn on; None = boxes drawn by chance.
        split: of it, whose first source is used.
        draws: views of each.
    """
    pictures = random_pictures(64) if data is None else labelled_pictures(data, split, 256)
    rng = np.random.default_rng(0)
    torch.manual_seed(0)
    ours = view_figures(lambda size, boxes: draw_ours(size, boxes, rng), pictures, draws)
    theirs = view_figures(TorchvisionViews(), pictures, draws)
    return {
        "bench": "views",
        "data": str(data) if data is not None else "random boxes on 500x375",
        "draws": draws,
        "figures": {
            name: {
                "blitznet": _summary(ours[name]),
                "torchvision": _summary(theirs[name]),
                "ks_distance": ks_distance(ours[name], theirs[name]),
            }
            for name in FIGURES
        },
    }


def views_table(result: dict[str, Any]) -> Table:
    """What `bench_views` returns, for people."""
    table = Table(
        "figure of a view",
        "drawn by",
        title=f"{result['draws']} views each, {result['data']}",
        caption="Distance: the largest between both distributions (Kolmogorov and Smirnov).",
    )
    for name in ("mean", "10 %", "50 %", "90 %", "distance"):
        table.add_column(name, justify="right")
    for name, row in result["figures"].items():
        for policy, distance in (("blitznet", f"{row['ks_distance']:.3f}"), ("torchvision", "")):
            table.add_row(name, policy, *(f"{one:.3f}" for one in row[policy].values()), distance)
    return table


def draw_ours(
    size: tuple[int, int], boxes: np.ndarray, rng: np.random.Generator
) -> tuple[View, View]:
    """The steps of `draw_view`, with the canvas that lies between them."""
    augmentation = Augmentation()
    canvas = whole_view(*size)
    if rng.random() < augmentation.zoom_out_probability:
        canvas = draw_zoom_out(canvas, augmentation.zoom_out_max, rng)
    return canvas, draw_iou_crop(canvas, boxes, rng)


class TorchvisionViews:
    """Draws the parameters of RandomZoomOut and RandomIoUCrop, without pixels."""

    def __init__(self) -> None:
        self.zoom_out, self.crop = v2.RandomZoomOut(), v2.RandomIoUCrop()

    def __call__(self, size: tuple[int, int], boxes: np.ndarray) -> tuple[View, View]:
        """Canvas, and view of it, in pixels of the picture."""
        width, height = size
        left = top = right = bottom = 0
        if torch.rand(1) < self.zoom_out.p:
            image = torch.empty((1, height, width), device="meta")
            left, top, right, bottom = self.zoom_out.make_params([image])["padding"]
        canvas = View(-left, -top, width + right, height + bottom)
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
        return canvas, View(x1, y1, x1 + drawn["width"], y1 + drawn["height"])


def view_figures(draw: DrawView, pictures: Sequence[Picture], draws: int) -> dict[str, np.ndarray]:
    """FIGURES of as many views, the pictures taken in turns.

    Returns:
        (draws,) each: side of the canvas in sides of the picture; area of the view in areas of the
        picture; width over height of the view, relative to the picture's; share of the picture that
        is visible; share of the view that shows no picture; share of the boxes kept.
    """
    rows = []
    for number in range(draws):
        size, boxes = pictures[number % len(pictures)]
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
    """Kolmogorov and Smirnov's: the largest distance between two empirical distributions."""
    places = np.concatenate((a, b))
    below_a = np.searchsorted(np.sort(a), places, side="right") / len(a)
    below_b = np.searchsorted(np.sort(b), places, side="right") / len(b)
    return float(np.abs(below_a - below_b).max())


def random_pictures(count: int, size: tuple[int, int] = (500, 375)) -> list[Picture]:
    """Sizes and 1 to 4 boxes drawn by chance, always the same."""
    rng = np.random.default_rng(0)
    pictures = []
    for _ in range(count):
        sides = rng.uniform(0.05, 0.8, (rng.integers(1, 5), 2)) * size
        corners = rng.uniform(0, 1, sides.shape) * (np.array(size) - sides)
        pictures.append((size, np.concatenate((corners, corners + sides), 1).astype(np.float32)))
    return pictures


def labelled_pictures(data: Path, split: str, count: int) -> list[Picture]:
    """Sizes and boxes of pictures that have some, evenly spread over a split's first source.

    Raises:
        InputError: if the data cannot be read.
    """
    source = read_description(data).open_split(split)[0]
    pictures = []
    for index in np.linspace(0, len(source) - 1, min(count, len(source))).astype(int).tolist():
        labels = source.labels(index)
        size = labels.size or source.read(index).size
        boxes, _, _ = read_objects(labels, size, source.table)
        if len(boxes):
            pictures.append((size, boxes))
    return pictures


def _summary(values: np.ndarray) -> dict[str, float]:
    low, middle, high = np.quantile(values, (0.1, 0.5, 0.9)).tolist()
    return {"mean": float(values.mean()), "q10": low, "q50": middle, "q90": high}
