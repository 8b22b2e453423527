"""Pictures with boxes and maps drawn by chance, so that a benchmark runs anywhere."""

from pathlib import Path

import numpy as np
from PIL import Image

from blitznet.classes import VOC_CLASSES
from blitznet.data.labels import ClassTable, ObjectLabel, PictureLabels
from blitznet.data.seg_map import VOC_CODES, MapFile
from blitznet.data.source import LabelSource

MOST_OBJECTS = 4
JPEG_QUALITY = 90

# Period in pixels and weight of layers of noise that together look, to a JPEG, like a photograph.
_LAYERS = ((128, 0.4), (32, 0.25), (8, 0.2), (2, 0.1), (1, 0.05))


def drawn_source(folder: Path, count: int, size: tuple[int, int] = (500, 375)) -> LabelSource:
    """JPEGs with 1 to MOST_OBJECTS rectangles and their maps as PNG, all written at once.

    Args:
        folder: to write into.
        count: of images.
        size: width and height in pixels.
    """
    labels = [
        _draw_picture(folder / f"{index:06}", size, np.random.default_rng(index))
        for index in range(count)
    ]
    return LabelSource(labels, _as_it_is, ClassTable(VOC_CLASSES))


def _as_it_is(labels: PictureLabels) -> PictureLabels:
    return labels


def _draw_picture(stem: Path, size: tuple[int, int], rng: np.random.Generator) -> PictureLabels:
    width, height = size
    pixels = np.zeros((height, width, 3))
    for period, weight in _LAYERS:
        layer = rng.integers(0, 256, (height // period + 2, width // period + 2, 3), np.uint8)
        pixels += weight * np.asarray(
            Image.fromarray(layer).resize(size, Image.Resampling.BICUBIC), np.float64
        )
    seg_map = np.zeros((height, width), np.uint8)
    objects = []
    for number in range(rng.integers(1, MOST_OBJECTS + 1)):
        share_x, share_y = rng.uniform(0.1, 0.7, 2)
        x1, y1 = int(rng.uniform(0, 1 - share_x) * width), int(rng.uniform(0, 1 - share_y) * height)
        x2, y2 = x1 + int(share_x * width), y1 + int(share_y * height)
        class_id = int(rng.integers(1, len(VOC_CLASSES)))
        pixels[y1:y2, x1:x2] = 0.5 * pixels[y1:y2, x1:x2] + 0.5 * rng.uniform(0, 255, 3)
        seg_map[y1:y2, x1:x2] = class_id
        where = f"{stem.name}, object {number + 1}"
        box = (float(x1), float(y1), float(x2), float(y2))
        objects.append(ObjectLabel(VOC_CLASSES[class_id], box, where, str(box)))
    picture, map_file = stem.with_suffix(".jpg"), stem.with_suffix(".png")
    Image.fromarray(pixels.clip(0, 255).astype(np.uint8)).save(picture, quality=JPEG_QUALITY)
    Image.fromarray(seg_map).save(map_file)
    return PictureLabels(picture, tuple(objects), MapFile(map_file, VOC_CODES))
