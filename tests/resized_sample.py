"""A sample and its labels, as the network sees them."""

from dataclasses import replace

import numpy as np
from PIL import Image

from blitznet.data.geometry import CropWindow, view_image, view_labels
from blitznet.structures import Sample


def view_sample(sample: Sample, view: CropWindow, size: int, min_box_side: float = 0.0) -> Sample:
    """The part that `view` shows, resampled to (size, size)."""
    image = view_image(Image.fromarray(sample.image), sample.size, view, size)
    return view_labels(replace(sample, image=np.asarray(image)), view, size, min_box_side)


def resize_sample(sample: Sample, size: int) -> Sample:
    """The whole sample, stretched to (size, size)."""
    return view_sample(sample, CropWindow(0, 0, *sample.size), size)
