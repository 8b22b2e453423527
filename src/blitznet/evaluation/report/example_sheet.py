"""The best and the worst images, labels beside what was found."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from blitznet.data.check.label_sheet import draw_labels
from blitznet.detections import Detections
from blitznet.draw import draw_scene
from blitznet.evaluation.report.review import EvaluatedImage

HEIGHT, MAXIMUM_WIDTH = 220, 440  # of every image, in pixels
MARGIN, CAPTION, TITLE = 8, 22, 30


def draw_best_worst(
    best: Sequence[EvaluatedImage], worst: Sequence[EvaluatedImage], names: Sequence[str]
) -> Image.Image:
    """Two columns, the best on the left and the worst on the right; without images, none.

    Args:
        best: the best first.
        worst: the worst first.
        names: of the classes, background first.

    Returns:
        RGB, on white.
    """
    columns = {
        title: [(image, _draw_pair(image, names)) for image in images]
        for title, images in (("best", best), ("worst", worst))
        if images
    }
    pairs = [[pair for _, pair in column] for column in columns.values()]
    widths = [2 * MARGIN + max((pair.width for pair in column), default=0) for column in pairs]
    row_height = HEIGHT + CAPTION + MARGIN
    height = TITLE + MARGIN + max(map(len, pairs)) * row_height
    sheet = Image.new("RGB", (sum(widths) + MARGIN, height), "white")
    pen, left = ImageDraw.Draw(sheet), MARGIN
    for (title, column), width in zip(columns.items(), widths, strict=True):
        heading = f"the {title}: labels, found"
        pen.text((left, MARGIN), heading, fill="black", font=ImageFont.load_default(16))
        for row, (image, pair) in enumerate(column):
            top = TITLE + MARGIN + row * row_height
            sheet.paste(pair, (left, top))
            font = ImageFont.load_default(13)
            pen.text((left, top + HEIGHT + 3), _caption(image), fill="black", font=font)
        left += width + MARGIN
    return sheet


def _draw_pair(image: EvaluatedImage, names: Sequence[str]) -> Image.Image:
    labelled = draw_labels(image.sample, names, (MAXIMUM_WIDTH, HEIGHT))
    size, seg_map = labelled.size, image.seg_map
    if seg_map is not None:
        seg_map = np.asarray(Image.fromarray(seg_map).resize(size, Image.Resampling.NEAREST))
    boxes, labels, scores = image.detections or Detections.none()
    boxes = boxes * (size[0] / image.sample.size[0])
    scaled = Image.fromarray(image.sample.image).resize(size, Image.Resampling.BICUBIC)
    pair = Image.new("RGB", (2 * size[0] + MARGIN // 2, size[1]), "white")
    pair.paste(labelled, (0, 0))
    found = draw_scene(scaled, boxes, labels, scores, seg_map, names)
    pair.paste(found, (size[0] + MARGIN // 2, 0))
    return pair


def _caption(image: EvaluatedImage) -> str:
    name = image.sample.source.replace("\\", "/").rsplit("/", 1)[-1]
    figures = {"boxes F1": image.f1, "mIoU": image.mean_iou}
    shown = [f"{title} {value:.2f}" for title, value in figures.items() if value is not None]
    return "   ".join([name if len(name) <= 30 else f"...{name[-27:]}", *shown])
