"""The best and the worst images, labels beside what was found."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from blitznet.data.check.sheet import draw_labels
from blitznet.detections import Detections
from blitznet.draw import draw_scene
from blitznet.evaluation.report.review import ReviewedImage

HEIGHT = 220  # of every image, in pixels
WIDEST = 440
MARGIN, CAPTION, TITLE = 8, 22, 30
NOTHING = Detections(np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.float32))


def draw_best_worst(
    best: Sequence[ReviewedImage], worst: Sequence[ReviewedImage], names: Sequence[str]
) -> Image.Image:
    """Two columns, the best on the left and the worst on the right, a row an image.

    Args:
        best: the best first.
        worst: the worst first.
        names: of the classes, background first.

    Returns:
        RGB, on white.
    """
    titles = ("the best: labels, found", "the worst: labels, found")
    columns = [[_draw_pair(image, names) for image in column] for column in (best, worst)]
    widths = [max((pair.width for pair in column), default=0) + MARGIN for column in columns]
    rows = max(map(len, columns))
    size = sum(widths) + 3 * MARGIN, TITLE + rows * (HEIGHT + CAPTION + MARGIN) + MARGIN
    sheet = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(sheet)
    x = MARGIN
    for title, images, pairs, width in zip(titles, (best, worst), columns, widths, strict=True):
        pen.text((x, MARGIN), title, fill="black", font=ImageFont.load_default(16))
        for row, (image, pair) in enumerate(zip(images, pairs, strict=True)):
            y = TITLE + MARGIN + row * (HEIGHT + CAPTION + MARGIN)
            sheet.paste(pair, (x, y))
            pen.text(
                (x, y + HEIGHT + 3),
                _caption(image),
                fill="black",
                font=ImageFont.load_default(13),
            )
        x += width + MARGIN
    return sheet


def _draw_pair(image: ReviewedImage, names: Sequence[str]) -> Image.Image:
    labelled = draw_labels(image.sample, names, (WIDEST, HEIGHT))
    size = labelled.size
    seg_map = image.seg_map
    if seg_map is not None:
        seg_map = np.asarray(Image.fromarray(seg_map).resize(size, Image.Resampling.NEAREST))
    boxes, labels, scores = image.detections or NOTHING
    found = draw_scene(
        Image.fromarray(image.sample.image).resize(size, Image.Resampling.BICUBIC),
        boxes * (size[0] / image.sample.size[0]),
        labels,
        scores,
        seg_map,
        names,
    )
    pair = Image.new("RGB", (2 * size[0] + MARGIN // 2, HEIGHT), "white")
    pair.paste(labelled, (0, 0))
    pair.paste(found, (size[0] + MARGIN // 2, 0))
    return pair


def _caption(image: ReviewedImage) -> str:
    name = image.sample.source.replace("\\", "/").rsplit("/", 1)[-1]
    parts = [name if len(name) <= 30 else f"...{name[-27:]}"]
    if image.f1 is not None:
        parts.append(f"boxes F1 {image.f1:.2f}")
    if image.mean_iou is not None:
        parts.append(f"mIoU {image.mean_iou:.2f}")
    return "   ".join(parts)
