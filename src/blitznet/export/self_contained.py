"""From the pixels of a picture to boxes and class ids, as one module: what a file holds."""

from collections.abc import Callable

from torch import Tensor, nn
from torch.nn.functional import interpolate

from blitznet.detection import box_coder
from blitznet.export.limits import Limits
from blitznet.inference.engines.pixel_network import PixelNetwork, as_raw, output_names
from blitznet.model.blitznet import BlitzNet
from blitznet.model_info import ModelConfig

Select = Callable[[Tensor, Tensor, Limits], tuple[Tensor, Tensor, Tensor, Tensor]]

DETECTION_OUTPUTS = ("boxes", "scores", "labels", "count")
MAP_OUTPUTS = ("seg_map", "seg_logits")
RAW_DETECTION_OUTPUTS = ("class_logits", "box_deltas")


def file_output_names(config: ModelConfig) -> tuple[str, ...]:
    """Of a file; a task that the network lacks has none."""
    return (
        *(DETECTION_OUTPUTS if config.detect else ()),
        *(MAP_OUTPUTS if config.segment else ()),
    )


class SelfContainedNetwork(nn.Module):
    """A network with everything before and after it.

    Args:
        network: with its weights.
        limits: of suppression.
        select: `select_objects`, or what stands for it in a file.
        with_raw: also give class_logits and box_deltas, last.

    Attributes:
        output_names: of what `forward` returns.
    """

    anchors: Tensor

    def __init__(
        self, network: BlitzNet, limits: Limits, select: Select, with_raw: bool = False
    ) -> None:
        super().__init__()
        self.network = PixelNetwork(network)
        self.limits = limits
        self.select = select
        self.config = network.config
        self.register_buffer("anchors", network.anchors, persistent=False)
        has_raw = with_raw and network.config.detect
        self.output_names = (
            *file_output_names(network.config),
            *(RAW_DETECTION_OUTPUTS if has_raw else ()),
        )

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """All of `output_names`.

        Args:
            images: (B, S, S, 3) uint8 RGB.

        Returns:
            boxes (B, T, 4) float32 xyxy, fractions of width and height; scores (B, T) float32;
            labels (B, T) int64; count (B,) int64; seg_map (B, S, S) uint8; seg_logits
            (B, C, h, w) float32; class_logits (B, A, C); box_deltas (B, A, 4).
        """
        names = output_names(self.config)
        raw = as_raw(dict(zip(names, self.raw(images), strict=True)))
        outputs: dict[str, Tensor | None] = raw._asdict()
        if raw.class_logits is not None and raw.box_deltas is not None:
            decoded = self._decode(raw.class_logits, raw.box_deltas)
            outputs.update(zip(DETECTION_OUTPUTS, decoded, strict=True))
        if raw.seg_logits is not None:
            outputs["seg_map"] = _classify(raw.seg_logits, self.config.image_size)
        return tuple(out for name in self.output_names if (out := outputs[name]) is not None)

    def raw(self, images: Tensor) -> tuple[Tensor, ...]:
        """As `forward`, but the network's own outputs, by `pixel_network.output_names`."""
        outputs: tuple[Tensor, ...] = self.network(images)
        return outputs

    def _decode(self, class_logits: Tensor, box_deltas: Tensor) -> tuple[Tensor, ...]:
        size = self.config.image_size
        boxes = box_coder.decode(box_deltas, self.anchors).clamp(0, size)
        scores = class_logits.softmax(dim=-1)[..., 1:]  # without background
        boxes, scores, labels, count = self.select(boxes, scores, self.limits)
        return boxes / size, scores, labels, count


def _classify(seg_logits: Tensor, size: int) -> Tensor:
    """(B, C, h, w) to (B, S, S) uint8."""
    planes = interpolate(seg_logits, size=(size, size), mode="bilinear", align_corners=False)
    return planes.argmax(dim=1).byte()
