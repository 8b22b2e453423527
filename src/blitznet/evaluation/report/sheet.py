"""The best and the worst pictures, what is labelled beside what was found."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from blitznet.data.check.sheet import draw_labels
from blitznet.draw import draw_scene
from blitznet.evaluation.report.review import ReviewedPicture

HEIGHT = 220  # of every picture, in pixels
WIDEST = 440
MARGIN, CAPTION, TITLE = 8, 22, 30


def draw_best_worst(
    best: Sequence[ReviewedPicture], worst: Sequence[ReviewedPicture], names: Sequence[str]
) -> Image.Image:
    """Two columns, the best on the left and the worst on the right, a row a picture.

    Args:
        best: the best first.
        worst: the worst first.
        names: of the classes, background first.

    Returns:
        RGB, on white.
    """
    titles = ("the best: labels, found", "the worst: labels, found")
    columns = [[_draw_pair(picture, names) for picture in column] for column in (best, worst)]
    widths = [max((pair.width for pair in column), default=0) + MARGIN for column in columns]
    rows = max(map(len, columns))
    size = sum(widths) + 3 * MARGIN, TITLE + rows * (HEIGHT + CAPTION + MARGIN) + MARGIN
    sheet = Image.new("RGB", size, "white")
    pen = ImageDraw.Draw(sheet)
    x = MARGIN
    for title, pictures, pairs, width in zip(titles, (best, worst), columns, widths, strict=True):
        pen.text((x, MARGIN), title, fill="black", font=ImageFont.load_default(16))
        for row, (picture, pair) in enumerate(zip(pictures, pairs, strict=True)):
            y = TITLE + MARGIN + row * (HEIGHT + CAPTION + MARGIN)
            sheet.paste(pair, (x, y))
            pen.text(
                (x, y + HEIGHT + 3),
                _caption(picture),
                fill="black",
                font=ImageFont.load_default(13),
            )
        x += width + MARGIN
    return sheet


def _draw_pair(picture: ReviewedPicture, names: Sequence[str]) -> Image.Image:
    labelled = draw_labels(picture.sample, names, (WIDEST, HEIGHT))
    size = labelled.size
    seg_map = picture.seg_map
    boxes: np.ndarray = np.zeros((0, 4), np.float32)
    if seg_map is not None:
        seg_map = np.asarray(Image.fromarray(seg_map).resize(size, Image.Resampling.NEAREST))
    if picture.boxes is not None:
        boxes = picture.boxes * (size[0] / picture.sample.size[0])
    found = draw_scene(
        Image.fromarray(picture.sample.image).resize(size, Image.Resampling.BICUBIC),
        boxes,
        picture.labels,
        picture.scores,
        seg_map,
        names,
    )
    pair = Image.new("RGB", (2 * size[0] + MARGIN // 2, HEIGHT), "white")
    pair.paste(labelled, (0, 0))
    pair.paste(found, (size[0] + MARGIN // 2, 0))
    return pair


def _caption(picture: ReviewedPicture) -> str:
    name = picture.sample.source.replace("\\", "/").rsplit("/", 1)[-1]
    parts = [name if len(name) <= 30 else f"...{name[-27:]}"]
    if picture.f1 is not None:
        parts.append(f"boxes F1 {picture.f1:.2f}")
    if picture.mean_iou is not None:
        parts.append(f"mIoU {picture.mean_iou:.2f}")
    return "   ".join(parts)
