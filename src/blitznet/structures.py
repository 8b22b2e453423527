"""Values passed between data, network, losses and post-processing.

Tensor dimensions, one letter each: B images, A anchors, G ground-truth boxes of one image (padded
to the maximum of a batch), K kept detections, C classes including background, H W height and width
of an image, S side of the network's input, h w height and width of the finest feature map.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

if TYPE_CHECKING:  # reading data and recipes does not need PyTorch
    import torch
    from torch import Tensor

# Values of `Batch.labels` for padding rows and for ignored boxes (difficult, crowd). In
# `Sample.labels`, IGNORE_LABEL marks a difficult box without a class.
PADDING_LABEL = 0
IGNORE_LABEL = -1


@dataclass(frozen=True)
class Sample:
    """One image and its labels.

    Attributes:
        image: (H, W, 3) uint8 RGB.
        boxes: (G, 4) float32 xyxy in pixels of `image`, or None if boxes are not labelled. An
            empty array means that the image is labelled and has no objects.
        labels: (G,) int64 class ids from 1 on; IGNORE_LABEL for a box that may hold any class.
        difficult: (G,) bool; VOC's difficult or COCO's crowd, which are ignored.
        seg_map: (H, W) uint8 class ids, 255 = void, or None if pixels are not labelled.
        source: where the image came from, for messages.
        known_classes: (C,) bool, classes that the labels cover, background included; None = all.
            Unlabelled parts of the image may show any other class (partial labels).
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
        boxes: (B, G, 4) float32 xyxy in pixels of the input, not fractions; padded with zeros.
        labels: (B, G) int64 class ids from 1 to C - 1; PADDING_LABEL (0) on padding, IGNORE_LABEL
            (-1) on boxes to ignore.
        has_boxes: (B,) bool; False if boxes are not labelled.
        seg_maps: (B, S, S) class ids of any integer type, background 0, void 255; all 255 if pixels
            are not labelled. `data.loader` gives uint8, which needs least memory.
        sources: B names, for messages.
        known_classes: (B, C) bool, classes that each image's labels cover; None = all.
    """

    images: "Tensor"
    boxes: "Tensor"
    labels: "Tensor"
    has_boxes: "Tensor"
    seg_maps: "Tensor"
    sources: tuple[str, ...]
    known_classes: "Tensor | None" = None

    def map_tensors(self, function: Callable[["Tensor"], "Tensor"]) -> "Batch":
        """Apply `function` to every tensor."""
        fields: dict[str, Any] = {
            name: function(value)
            for name, value in vars(self).items()
            if name != "sources" and value is not None
        }
        return replace(self, **fields)

    def split(self, parts: int) -> "list[Batch]":
        """Split into `parts` batches of equal size, in order; B must be divisible by `parts`."""
        size = len(self.sources) // parts
        return [self._between(start, start + size) for start in range(0, parts * size, size)]

    def _between(self, start: int, stop: int) -> "Batch":
        part = self.map_tensors(lambda tensor: tensor[start:stop])
        return replace(part, sources=self.sources[start:stop])

    def to(self, device: "torch.device") -> "Batch":
        """Move to another device, asynchronously from pinned memory."""
        return self.map_tensors(lambda tensor: tensor.to(device, non_blocking=True))

    def pin_memory(self) -> "Batch":
        """Copy to page-locked memory; torch's data loader calls this."""
        return self.map_tensors(lambda tensor: tensor.pin_memory())


class RawPredictions(NamedTuple):
    """Output of the network, the same in training and evaluation; None for a head it lacks.

    Attributes:
        class_logits: (B, A, C) before softmax, background first.
        box_deltas: (B, A, 4) relative to the anchors, see `detection.box_coder`.
        seg_logits: (B, C, h, w) before softmax, at the size of the finest level.
    """

    class_logits: "Tensor | None"
    box_deltas: "Tensor | None"
    seg_logits: "Tensor | None"


class SoftLabels(NamedTuple):
    """A teacher's class probabilities for a batch, background first.

    Attributes:
        of_boxes: (B, G, C) for the objects of the batch; all zero where the teacher gives none.
        of_pixels: (B, C, h, w) at the teacher's resolution; None = it does not segment.
    """

    of_boxes: "Tensor"
    of_pixels: "Tensor | None"
