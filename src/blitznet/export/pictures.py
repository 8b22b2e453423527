"""Pictures at the network's input size: to compare a file on, and to calibrate it with."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
from PIL import Image

from blitznet.data.description import read_description
from blitznet.data.geometry import resize_sample
from blitznet.data.source import locate
from blitznet.errors import InputError
from blitznet.image import read_picture, resize_to_input
from blitznet.inference.demo import demo_pictures


def described_pictures(data: Path, split: str, most: int, size: int) -> Iterator[np.ndarray]:
    """Up to `most` pictures of a split, evenly spread over it.

    Yields:
        (S, S, 3) uint8 RGB.

    Raises:
        InputError: if there is no such split, or a picture cannot be used.
    """
    sources = list(read_description(data).open_split(split))
    total = sum(map(len, sources))
    for position in np.unique(np.linspace(0, total - 1, min(most, total)).round().astype(int)):
        source, index = locate(sources, int(position))
        yield resize_sample(source.read(index), size).image


def pictures_at_hand(size: int) -> list[np.ndarray]:
    """The demo's photographs and their mirror images where they are installed, else drawn blobs."""
    try:
        files = demo_pictures()
    except InputError:
        return [_draw(np.random.default_rng(seed), size) for seed in range(8)]
    pictures = [resize_to_input(read_picture(file), size) for file in files]
    return pictures + [picture[:, ::-1] for picture in pictures]


def _draw(rng: np.random.Generator, size: int) -> np.ndarray:
    """Blobs of colour in several sizes."""
    picture = np.zeros((size, size, 3), np.float32)
    for cells in (3, 9, 27):
        blobs = Image.fromarray(rng.integers(0, 256, (cells, cells, 3), dtype=np.uint8))
        picture += np.asarray(blobs.resize((size, size), Image.Resampling.BICUBIC))
    return (picture / 3).astype(np.uint8)
