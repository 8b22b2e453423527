"""Images for comparing exported files and calibrating int8."""

from pathlib import Path

import numpy as np
from PIL import Image

from blitznet.data.description import read_description
from blitznet.data.source import locate
from blitznet.evenly_spaced import evenly_spaced
from blitznet.image import read_image, resize_to_input
from blitznet.inference.demo import demo_images


def described_images(data: Path, split: str | None, number: int, size: int) -> list[np.ndarray]:
    """Load evenly spaced images of a split at the network's input size.

    Args:
        data: data description.
        split: a split of it; None = `train`, or else the first one.
        number: maximum number of images.
        size: S.

    Returns:
        Images, (S, S, 3) uint8 each.
    """
    description = read_description(data)
    if split is None:
        split = "train" if "train" in description.splits else next(iter(description.splits))
    sources = description.open_split(split)
    images = []
    for position in evenly_spaced(sum(map(len, sources)), number):
        source, index = locate(sources, position)
        images.append(resize_to_input(Image.fromarray(source.read(index).image), size))
    return images


def images_at_hand(size: int) -> list[np.ndarray]:
    """Load the demo's photos and their mirror images."""
    images = [resize_to_input(read_image(file), size) for file in demo_images()]
    return images + [image[:, ::-1] for image in images]
