"""What crosses the borders between data, network, losses and post-processing.

Tensor dimensions, one letter each: B images, A anchors, G ground-truth boxes of one image (padded
to the largest of a batch), K kept detections, C classes including background, H W height and width
of an image, S side of the network's input, h w height and width of the finest feature map.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:  # readers of data and recipes do without PyTorch
    import torch
    from torch import Tensor

# In `Batch.labels`: a padding row, and a box that is ignored (difficult, crowd). The latter also in
# `Sample.labels`, of a difficult box without a class.
PADDING_LABEL = 0
IGNORE_LABEL = -1


@dataclass(frozen=True)
class Sample:
    """One image and what is known about it.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        boxes: (G, 4) float32 xyxy in pixels of `image`, or None where boxes are not labelled.
            An empty array says that the image was labelled and holds no object.
        labels: (G,) int64 class ids from 1 on; IGNORE_LABEL for a box that any class may be in.
        difficult: (G,) bool; VOC's difficult or COCO's crowd, which is ignored.
        seg_map: (H, W) uint8 class ids, 255 = void, or None where pixels are not labelled.
        source: where the image came from, for messages.
        known_classes: (C,) bool, the classes that its labels speak of, background included; None =
            all. Where nothing is labelled, an unknown class may be there (partial labels).
    """

    image: np.ndarray
    boxes: np.ndarray | None
    labels: np.ndarray
    difficult: np.ndarray
    seg_map: np.ndarray | None
    source: str
    known_classes: np.ndarray | None = None

    @property
    def size(self) -> tuple[int, int]:
        """Width and height in pixels."""
        return self.image.shape[1], self.image.shape[0]


@dataclass
class Batch:
    """Samples at the network's input size, stacked.

    Attributes:
        images: (B, 3, S, S) uint8 RGB; normalised on the device.
        boxes: (B, G, 4) float32 xyxy in pixels of the input, padded with zeros.
        labels: (B, G) int64; PADDING_LABEL on padding, IGNORE_LABEL on boxes to ignore.
        has_boxes: (B,) bool; False where boxes are not labelled.
        seg_maps: (B, S, S) uint8; all 255 where pixels are not labelled.
        sources: B names, for messages.
        known_classes: (B, C) bool, the classes that an image's labels speak of; None = all of all.
    """

    images: "Tensor"
    boxes: "Tensor"
    labels: "Tensor"
    has_boxes: "Tensor"
    seg_maps: "Tensor"
    sources: tuple[str, ...]
    known_classes: "Tensor | None" = None

    def map_tensors(self, function: Callable[["Tensor"], "Tensor"]) -> "Batch":
        """The same batch with every tensor put through `function`."""
        fields: dict[str, Any] = {
            name: function(value)
            for name, value in vars(self).items()
            if name != "sources" and value is not None
        }
        return replace(self, **fields)

    def split(self, parts: int) -> "list[Batch]":
        """In as many batches of equal size, in order; B must be a multiple."""
        size = len(self.sources) // parts
        return [self._between(start, start + size) for start in range(0, parts * size, size)]

    def _between(self, start: int, stop: int) -> "Batch":
        part = self.map_tensors(lambda tensor: tensor[start:stop])
        return replace(part, sources=self.sources[start:stop])

    def to(self, device: "torch.device") -> "Batch":
        """On another device; from pinned memory without waiting."""
        return self.map_tensors(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> "Batch":
        """In page-locked memory; torch's data loader calls this."""
        return self.map_tensors(lambda tensor: tensor.pin_memory())


class RawPredictions(NamedTuple):
    """What the network returns, in training and in evaluation alike; None for a head it lacks.

    Attributes:
        class_logits: (B, A, C) before softmax, background first.
        box_deltas: (B, A, 4) relative to the anchors, see `detection.box_coder`.
        seg_logits: (B, C, h, w) before softmax, at the finest level's size.
    """

    class_logits: "Tensor | None"
    box_deltas: "Tensor | None"
    seg_logits: "Tensor | None"


class SoftLabels(NamedTuple):
    """What a teacher network says of a batch: class probabilities, background first.

    Attributes:
        of_boxes: (B, G, C) of the objects of the batch; all zero where it has none to give.
        of_pixels: (B, C, h, w) at its own resolution; None = it does not segment.
    """

    of_boxes: "Tensor"
    of_pixels: "Tensor | None"
