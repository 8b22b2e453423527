"""A sheet of sample images with their boxes and maps, as labels say."""

from collections.abc import Sequence

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from blitznet.classes import IGNORE_INDEX
from blitznet.data.check.check import OpenSource
from blitznet.draw import draw_scene
from blitznet.errors import InputError
from blitznet.structures import Sample

COLUMNS, ROWS = 4, 4
CELL = (400, 300)  # pixels
CAPTION = 22
MARGIN = 8
CAPTION_FONT = 13


def draw_sheet(sources: Sequence[OpenSource], names: Sequence[str], seed: int = 0) -> Image.Image:
    """Up to 16 random images of all sources, always the same for a seed.

    Images with errors are left out. Boxes that are ignored are called "ignored".

    Args:
        sources: of any splits.
        names: class names, background first.
        seed: of the choice.

    Returns:
        RGB, on white; a caption under each image says its split and file.
    """
    samples = _choose(sources, seed)
    rows = max(1, -(-len(samples) // COLUMNS))
    width = COLUMNS * (CELL[0] + MARGIN) + MARGIN
    height = rows * (CELL[1] + CAPTION + MARGIN) + MARGIN
    sheet = Image.new("RGB", (width, height), "white")
    pen, font = ImageDraw.Draw(sheet), ImageFont.load_default(CAPTION_FONT)
    for number, (split, sample) in enumerate(samples):
        row, column = divmod(number, COLUMNS)
        x = MARGIN + column * (CELL[0] + MARGIN)
        y = MARGIN + row * (CELL[1] + CAPTION + MARGIN)
        drawn = draw_labels(sample, names, CELL)
        sheet.paste(drawn, (x + (CELL[0] - drawn.width) // 2, y + CELL[1] - drawn.height))
        caption = f"{split}: {_short(sample.source)}{_lacks(sample)}"
        pen.text((x + CELL[0] // 2, y + CELL[1] + 3), caption, fill="black", font=font, anchor="ma")
    return sheet


def _choose(sources: Sequence[OpenSource], seed: int) -> list[tuple[str, Sample]]:
    places = [(number, index) for number, s in enumerate(sources) for index in range(len(s.source))]
    samples: list[tuple[str, Sample]] = []
    for position in np.random.default_rng(seed).permutation(len(places)).tolist():
        if len(samples) == COLUMNS * ROWS:
            break
        number, index = places[position]
        try:
            samples.append((sources[number].split, sources[number].source.read(index)))
        except InputError:
            continue  # listed in the report
    return samples


def draw_labels(sample: Sample, names: Sequence[str], cell: tuple[int, int]) -> Image.Image:
    """One image as labels say, as large as fits into a cell.

    It is scaled before it is drawn on, so that lines and tags stay readable.

    Args:
        sample: what to draw; boxes that are ignored are called "ignored".
        names: class names, background first.
        cell: width and height in pixels.
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


def _lacks(sample: Sample) -> str:
    """What is not labelled: nobody sees that in the image."""
    if sample.boxes is None:
        return ", no boxes"
    return ", no map" if sample.seg_map is None else ""


def _short(source: str) -> str:
    name = source.replace("\\", "/").rsplit("/", 1)[-1]
    return name if len(name) <= 36 else f"...{name[-33:]}"
