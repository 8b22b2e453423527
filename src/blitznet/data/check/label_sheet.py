"""A sheet of sample images with their labelled boxes and segmentation maps."""

from collections.abc import Iterator, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from blitznet.classes import IGNORE_INDEX
from blitznet.data.check.check_report import OpenSource
from blitznet.draw import draw_scene
from blitznet.errors import InputError
from blitznet.structures import Sample

COLUMNS, ROWS = 4, 4
CELL = (400, 300)  # pixels
CAPTION = 22
MARGIN = 8


def draw_sheet(sources: Sequence[OpenSource], names: Sequence[str]) -> Image.Image:
    """Draw up to 16 images of all sources on white (RGB), chosen at random but always the same.

    Images with errors are skipped. A caption under each image states its split and file.
    """
    samples = list(islice(_shuffled(sources), COLUMNS * ROWS))
    width, height = CELL[0] + MARGIN, CELL[1] + CAPTION + MARGIN
    rows = max(1, -(-len(samples) // COLUMNS))
    sheet = Image.new("RGB", (COLUMNS * width + MARGIN, rows * height + MARGIN), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(13)
    for number, (split, sample) in enumerate(samples):
        row, column = divmod(number, COLUMNS)
        middle, bottom = MARGIN + column * width + CELL[0] // 2, MARGIN + row * height + CELL[1]
        drawn = draw_labels(sample, names, CELL)
        sheet.paste(drawn, (middle - drawn.width // 2, bottom - drawn.height))
        caption = f"{split}: {Path(sample.source).name[-36:]}"
        if sample.boxes is None or sample.seg_map is None:  # not visible in the image
            caption += ", no boxes" if sample.boxes is None else ", no map"
        pen.text((middle, bottom + 3), caption, fill="black", font=font, anchor="ma")
    return sheet


def _shuffled(sources: Sequence[OpenSource]) -> Iterator[tuple[str, Sample]]:
    """Yield split and sample of all images in random order."""
    places = [(split, source, i) for split, _, source in sources for i in range(len(source))]
    for position in np.random.default_rng(0).permutation(len(places)).tolist():
        split, source, index = places[position]
        with suppress(InputError):  # already in the report
            yield split, source.read(index)


def draw_labels(sample: Sample, names: Sequence[str], cell: tuple[int, int]) -> Image.Image:
    """Draw one image with its labels, as large as fits into a cell of (width, height) pixels.

    The image is scaled before drawing, so that lines and tags stay readable. Ignored boxes are
    tagged "ignored". Names begin with background.
    """
    width, height = sample.size
    scale = min(cell[0] / width, cell[1] / height)
    size = max(1, round(width * scale)), max(1, round(height * scale))
    image = Image.fromarray(sample.image).resize(size, Image.Resampling.BICUBIC)
    seg_map = None
    if sample.seg_map is not None:
        seg_map = np.asarray(Image.fromarray(sample.seg_map).resize(size, Image.Resampling.NEAREST))
    ignored = len(names)
    all_names = [*names, "ignored", *[""] * (IGNORE_INDEX - len(names) - 1), "void"]
    boxes = np.zeros((0, 4), np.float32) if sample.boxes is None else sample.boxes * scale
    labels = np.where(sample.difficult, ignored, sample.labels)
    return draw_scene(image, boxes, labels, None, seg_map, all_names)
