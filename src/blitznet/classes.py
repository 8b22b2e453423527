"""Class names, and the palette for storing and drawing segmentation maps.

Class 0 is background everywhere: in both heads, in labels and in segmentation maps.
`IGNORE_INDEX` marks void.
"""

from collections.abc import Sequence

import numpy as np
from PIL import Image

IGNORE_INDEX = 255
BACKGROUND = 0

VOC_CLASSES: tuple[str, ...] = (
    "background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair",
    "cow", "diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa",
    "train", "tvmonitor",
)  # fmt: skip

COCO_CLASSES: tuple[str, ...] = (
    "background", "person", "bicycle", "car", "motorcycle", "airplane", "bus", "train", "truck",
    "boat", "traffic light", "fire hydrant", "stop sign", "parking meter", "bench", "bird", "cat",
    "dog", "horse", "sheep", "cow", "elephant", "bear", "zebra", "giraffe", "backpack", "umbrella",
    "handbag", "tie", "suitcase", "frisbee", "skis", "snowboard", "sports ball", "kite",
    "baseball bat", "baseball glove", "skateboard", "surfboard", "tennis racket", "bottle",
    "wine glass", "cup", "fork", "knife", "spoon", "bowl", "banana", "apple", "sandwich", "orange",
    "broccoli", "carrot", "hot dog", "pizza", "donut", "cake", "chair", "couch", "potted plant",
    "bed", "dining table", "toilet", "tv", "laptop", "mouse", "remote", "keyboard", "cell phone",
    "microwave", "oven", "toaster", "sink", "refrigerator", "book", "clock", "vase", "scissors",
    "teddy bear", "hair drier", "toothbrush",
)  # fmt: skip

# COCO's category ids go up to 90; these belong to classes without any labels.
_UNUSED_COCO_IDS = frozenset((12, 26, 29, 30, 45, 66, 68, 69, 71, 83))


def coco_category_ids(names: Sequence[str]) -> dict[str, int]:
    """Category ids to write in COCO files.

    Args:
        names: class names, background first.

    Returns:
        Ids by name, without background: the official ids (1 to 90, with gaps) if the classes are
        COCO's 80 in any order; otherwise the class ids.
    """
    if set(names[1:]) != set(COCO_CLASSES[1:]):
        return {name: index for index, name in enumerate(names) if index > 0}
    official = (number for number in range(1, 91) if number not in _UNUSED_COCO_IDS)
    return dict(zip(COCO_CLASSES[1:], official, strict=True))


def voc_palette() -> np.ndarray:
    """Colour of every value of a segmentation map, as defined by the VOC development kit.

    Returns:
        (256, 3) uint8 RGB. Bit 3k+c of the class id becomes bit 7-k of channel c.
    """
    ids, channels = np.arange(256)[:, None], np.arange(3)
    palette = np.zeros((256, 3), dtype=np.uint8)
    for shift in range(8):
        bits = (ids >> (3 * shift + channels)) & 1
        palette |= (bits << (7 - shift)).astype(np.uint8)
    return palette


def palette_image(seg_map: np.ndarray) -> Image.Image:
    """Convert a segmentation map to a palette image in VOC's colours, as VOC stores it.

    Args:
        seg_map: (H, W) uint8.
    """
    image = Image.fromarray(seg_map)
    image.putpalette(voc_palette().tobytes())
    return image
