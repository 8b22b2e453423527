"""What a file holds: from the pixels of an image to boxes and class logits, as one module."""

from torch import Tensor, nn
from torch.nn.functional import interpolate

from blitznet.boxes import xyxy_to_cxcywh
from blitznet.detection.limits import Limits
from blitznet.exporting.decode import decode_as_one_operator
from blitznet.model.blitznet import BlitzNet
from blitznet.model.pixel_network import PixelNetwork
from blitznet.model_info import ModelConfig

DETECTION_OUTPUTS = ("boxes", "scores", "labels", "count")
RAW_DETECTION_OUTPUTS = ("class_logits", "box_deltas")


def file_output_names(config: ModelConfig, has_seg_map: bool = False) -> tuple[str, ...]:
    """Of a file; a task that the network lacks has none."""
    outputs: tuple[str, ...] = DETECTION_OUTPUTS if config.detect else ()
    if config.segment:
        outputs += ("seg_logits", "seg_map") if has_seg_map else ("seg_logits",)
    return outputs


class ExportedNetwork(nn.Module):
    """A network with everything before and after it.

    Attributes:
        output_names: of what `forward` returns.
    """

    anchors: Tensor
    anchors_cxcywh: Tensor

    def __init__(self, network: BlitzNet, limits: Limits, has_seg_map: bool = False) -> None:
        super().__init__()
        self.network = PixelNetwork(network)
        self.limits = limits
        self.image_size = network.config.image_size
        self.register_buffer("anchors", network.anchors, persistent=False)
        self.register_buffer("anchors_cxcywh", xyxy_to_cxcywh(network.anchors), persistent=False)
        raw = RAW_DETECTION_OUTPUTS if network.config.detect else ()
        self.output_names = (*file_output_names(network.config, has_seg_map), *raw)

    def forward(self, images: Tensor) -> tuple[Tensor, ...]:
        """All of `output_names`.

        Args:
            images: (B, S, S, 3) uint8 RGB.

        Returns:
            boxes (B, T, 4) float32 xyxy, fractions of width and height; scores (B, T) float32;
            labels (B, T) int64; count (B,) int64; seg_logits (B, C, h, w) float32; seg_map
            (B, S, S) uint8; class_logits (B, A, C); box_deltas (B, A, 4).
        """
        raw = self.network(images)
        outputs: dict[str, Tensor] = {
            name: tensor for name, tensor in raw._asdict().items() if tensor is not None
        }
        if raw.class_logits is not None and raw.box_deltas is not None:
            boxes, scores, labels, count = decode_as_one_operator(
                raw.class_logits,
                raw.box_deltas,
                self.anchors,
                self.anchors_cxcywh,
                self.image_size,
                self.limits,
            )
            outputs |= {
                "boxes": boxes / self.image_size,
                "scores": scores,
                "labels": labels,
                "count": count,
            }
        if "seg_map" in self.output_names:
            outputs["seg_map"] = _classify(outputs["seg_logits"], self.image_size)
        return tuple(outputs[name] for name in self.output_names)


def _classify(seg_logits: Tensor, size: int) -> Tensor:
    """(B, C, h, w) to (B, S, S) uint8."""
    planes = interpolate(seg_logits, size=(size, size), mode="bilinear", align_corners=False)
    return planes.argmax(dim=1).byte()
