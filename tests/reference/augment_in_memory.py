"""`read_augmented` for a decoded sample, which is never shrunk during decoding."""

from dataclasses import replace

import numpy as np
from PIL import Image

from blitznet.data.geometry import view_image, view_labels
from blitznet.data.photometric import apply_colour_map, draw_distortion, mean_colour
from blitznet.data.ssd_policy import MIN_BOX_SIDE, Augmentation, draw_view
from blitznet.structures import Sample


def augment_sample(
    sample: Sample, size: int, augmentation: Augmentation, rng: np.random.Generator
) -> Sample:
    """A view and a distortion, drawn in the order of `read_augmented`."""
    view = draw_view(sample.size, sample.boxes, augmentation, rng)
    image = view_image(Image.fromarray(sample.image), sample.size, view, size)
    if augmentation.photometric:
        image = apply_colour_map(image, draw_distortion(mean_colour(image), rng))
    return view_labels(replace(sample, image=np.asarray(image)), view, size, MIN_BOX_SIDE)
