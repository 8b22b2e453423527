"""SSD's augmentation with torchvision's transforms.v2, for comparison with `data.ssd_policy`."""

from collections.abc import Callable
from time import process_time
from typing import Any, Literal

import numpy as np
import torch
from torch import Tensor
from torchvision import tv_tensors
from torchvision.io import ImageReadMode, decode_image
from torchvision.transforms import v2

from blitznet.classes import IGNORE_INDEX
from blitznet.data.geometry import FILL_COLOUR
from blitznet.data.labels import read_objects
from blitznet.data.photometric import BRIGHTNESS, CONTRAST, HUE, SATURATION
from blitznet.data.source import LabelSource
from blitznet.data.ssd_policy import MIN_BOX_SIDE
from blitznet.image import read_image
from blitznet.structures import Sample

TvSample = dict[str, Tensor]


def build_policy(size: int, colours: Literal["first", "last"] = "first") -> v2.Compose:
    """The transforms of torchvision's SSD reference, with our strengths.

    As in torchvision, each colour operation has a probability of 0.5; ours always applies all.

    Args:
        size: S.
        colours: whether colours come first, as in SSD, or last, on fewer pixels.
    """
    distort = v2.RandomPhotometricDistort(
        brightness=(1 - BRIGHTNESS, 1 + BRIGHTNESS),
        contrast=(1 - CONTRAST, 1 + CONTRAST),
        saturation=(1 - SATURATION, 1 + SATURATION),
        hue=(-HUE, HUE),
    )
    geometry = [
        v2.RandomZoomOut(fill={tv_tensors.Image: FILL_COLOUR, tv_tensors.Mask: IGNORE_INDEX}),
        v2.RandomIoUCrop(),
        v2.RandomHorizontalFlip(),
        v2.Resize((size, size)),
        v2.SanitizeBoundingBoxes(min_size=MIN_BOX_SIDE),
    ]
    return v2.Compose([distort, *geometry] if colours == "first" else [*geometry, distort])


def to_tv_sample(sample: Sample) -> TvSample:
    """Image, boxes and map of a sample as tensors; the image is uint8, channels first in memory."""
    image = torch.from_numpy(sample.image.copy()).permute(2, 0, 1).contiguous()
    return _tv_sample(image, sample.boxes, sample.labels, sample.seg_map)


def read_tv_sample(source: LabelSource, index: int, decode: Callable[[str], Tensor]) -> TvSample:
    """Read a sample as tensors: labels with our reader, the image with `decode`."""
    labels = source.labels(index)
    image = decode(str(labels.path))
    size = image.shape[2], image.shape[1]
    boxes, ids = None, np.zeros(0, np.int64)
    if labels.objects is not None:
        boxes, ids, _ = read_objects(labels, size, source.table)
    seg_map = labels.seg_map.read(size, source.table) if labels.seg_map is not None else None
    return _tv_sample(image, boxes, ids, seg_map)


def decode_with_torchvision(path: str) -> Tensor:
    """(3, H, W) uint8 RGB, upright."""
    image: Tensor = decode_image(path, ImageReadMode.RGB, apply_exif_orientation=True)
    return image


def decode_with_pillow(path: str) -> Tensor:
    """See `decode_with_torchvision`."""
    image: Tensor = v2.functional.pil_to_tensor(read_image(path))
    return image


def faster_decoder(paths: list[str]) -> Callable[[str], Tensor]:
    """The decoder that is faster on these images, torchvision's or Pillow's."""
    seconds = {}
    for decode in (decode_with_pillow, decode_with_torchvision):
        try:
            decode(paths[0])
            start = process_time()
            for path in paths:
                decode(path)
        except RuntimeError:  # not one of torchvision's formats
            continue
        seconds[decode] = process_time() - start
    return min(seconds, key=lambda decode: seconds[decode])


def _tv_sample(
    image: Tensor, boxes: np.ndarray | None, labels: np.ndarray, seg_map: np.ndarray | None
) -> TvSample:
    if boxes is None:
        boxes, labels = np.zeros((0, 4), np.float32), np.zeros(0, np.int64)
    sample: dict[str, Any] = {
        "image": tv_tensors.Image(image),
        "boxes": tv_tensors.BoundingBoxes(
            torch.from_numpy(boxes), format="XYXY", canvas_size=tuple(image.shape[1:])
        ),
        "labels": torch.from_numpy(labels),
    }
    if seg_map is not None:
        sample["mask"] = tv_tensors.Mask(torch.from_numpy(seg_map.copy()))
    return sample
