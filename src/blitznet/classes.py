"""Class names and the palette in which segmentation maps are stored and drawn.

Class 0 is background everywhere: in both heads, in labels and in maps. `IGNORE_INDEX` marks void.
"""

import numpy as np

IGNORE_INDEX = 255

VOC_CLASSES: tuple[str, ...] = (
    "background",
    "aeroplane",
    "bicycle",
    "bird",
    "boat",
    "bottle",
    "bus",
    "car",
    "cat",
    "chair",
    "cow",
    "diningtable",
    "dog",
    "horse",
    "motorbike",
    "person",
    "pottedplant",
    "sheep",
    "sofa",
    "train",
    "tvmonitor",
)


def voc_palette() -> np.ndarray:
    """The colour of every map value, as the VOC development kit defines it.

    Returns:
        (256, 3) uint8 RGB. Bit 3k+c of the class id becomes bit 7-k of channel c.
    """
    ids = np.arange(256)
    palette = np.zeros((256, 3), dtype=np.uint8)
    for shift in range(8):
        for channel in range(3):
            palette[:, channel] |= (((ids >> (3 * shift + channel)) & 1) << (7 - shift)).astype(
                np.uint8
            )
    return palette
