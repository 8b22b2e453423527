"""The best and the worst images, labels beside what was found."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from blitznet.data.check.sheet import draw_labels
from blitznet.detections import Detections
from blitznet.draw import draw_scene
from blitznet.evaluation.report.review import ReviewedImage

HEIGHT, MAXIMUM_WIDTH = 220, 440  # of every image, in pixels
MARGIN, CAPTION, TITLE = 8, 22, 30
NOTHING = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.float32))


def draw_best_worst(
    best: Sequence[ReviewedImage], worst: Sequence[ReviewedImage], names: Sequence[str]
) -> Image.Image:
    """Two columns, the best on the left and the worst on the right.

    Args:
        best: the best first.
        worst: the worst first.
        names: of the classes, background first.

    Returns:
        RGB, on white.
    """
    columns = [_draw_column("best", best, names), _draw_column("worst", worst, names)]
    return _join(columns, (0, columns[0].width + MARGIN))


def _draw_column(title: str, images: Sequence[ReviewedImage], names: Sequence[str]) -> Image.Image:
    pairs = [_draw_pair(image, names) for image in images]
    width = max((pair.width for pair in pairs), default=0) + 2 * MARGIN
    height = TITLE + MARGIN + len(pairs) * (HEIGHT + CAPTION + MARGIN)
    column = Image.new("RGB", (width, height), "white")
    pen = ImageDraw.Draw(column)
    heading = f"the {title}: labels, found"
    pen.text((MARGIN, MARGIN), heading, fill="black", font=ImageFont.load_default(16))
    for row, (image, pair) in enumerate(zip(images, pairs, strict=True)):
        y = TITLE + MARGIN + row * (HEIGHT + CAPTION + MARGIN)
        column.paste(pair, (MARGIN, y))
        font = ImageFont.load_default(13)
        pen.text((MARGIN, y + HEIGHT + 3), _caption(image), fill="black", font=font)
    return column


def _draw_pair(image: ReviewedImage, names: Sequence[str]) -> Image.Image:
    labelled = draw_labels(image.sample, names, (MAXIMUM_WIDTH, HEIGHT))
    size, seg_map = labelled.size, image.seg_map
    if seg_map is not None:
        seg_map = np.asarray(Image.fromarray(seg_map).resize(size, Image.Resampling.NEAREST))
    boxes, labels, scores = image.detections or NOTHING
    boxes = boxes * (size[0] / image.sample.size[0])
    scaled = Image.fromarray(image.sample.image).resize(size, Image.Resampling.BICUBIC)
    found = draw_scene(scaled, boxes, labels, scores, seg_map, names)
    return _join([labelled, found], (0, size[0] + MARGIN // 2))


def _join(images: Sequence[Image.Image], lefts: Sequence[int]) -> Image.Image:
    """Side by side on white, each at its place."""
    size = lefts[-1] + images[-1].width, max(image.height for image in images)
    joined = Image.new("RGB", size, "white")
    for image, left in zip(images, lefts, strict=True):
        joined.paste(image, (left, 0))
    return joined


def _caption(image: ReviewedImage) -> str:
    name = image.sample.source.replace("\\", "/").rsplit("/", 1)[-1]
    parts = [name if len(name) <= 30 else f"...{name[-27:]}"]
    if image.f1 is not None:
        parts.append(f"boxes F1 {image.f1:.2f}")
    if image.mean_iou is not None:
        parts.append(f"mIoU {image.mean_iou:.2f}")
    return "   ".join(parts)
