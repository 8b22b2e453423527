"""BlitzNet: figure 2 of the paper."""

from collections.abc import Sequence

import torch
from pydantic import ValidationError
from torch import Tensor, nn

from blitznet.detection.anchors import anchors_of
from blitznet.errors import InputError, first_problem
from blitznet.model.backbone import Backbone
from blitznet.model.downscale import DownscaleStream
from blitznet.model.heads import MultiboxHead, SegmentationHead
from blitznet.model.imagenet_weights import imagenet_normalization
from blitznet.model.upscale import UpscaleStream
from blitznet.model_files import CheckpointInfo
from blitznet.model_info import ModelConfig, find_model
from blitznet.structures import RawPredictions


class BlitzNet(nn.Module):
    """Boxes and pixel classes from one fully convolutional network.

    Attributes:
        config: architecture of the network.
        anchors: (A, 4) float32 xyxy in input pixels.
        info: metadata of the checkpoint that it was loaded from, if any.
    """

    anchors: Tensor
    info: CheckpointInfo | None = None

    def __init__(self, config: ModelConfig, pretrained: bool = False):
        super().__init__()
        self.config = config
        self.backbone = Backbone(config, pretrained)
        self.downscale = DownscaleStream(config, self.backbone.channels)
        channels = self.downscale.channels
        self.upscale = UpscaleStream(config, channels) if config.fusion else None
        channels = self.upscale.channels if self.upscale else channels
        classes = config.num_classes, config.background_rows
        self.multibox_head = MultiboxHead(channels, *classes) if config.detect else None
        self.segmentation_head = (
            SegmentationHead(channels, config.seg_width, *classes) if config.segment else None
        )
        self.register_buffer("anchors", anchors_of(config), persistent=False)

    def forward(self, images: Tensor) -> RawPredictions:
        """Figure 2. images: (B, 3, S, S) float, RGB, normalised by `normalize_images`.

        S is `config.image_size`; the predictions for images of another size do not fit `anchors`.
        """
        stages = self.backbone(images)
        skips = self.downscale(stages)
        features = self.upscale(skips) if self.upscale else skips
        class_logits = box_deltas = seg_logits = None
        if self.multibox_head:
            class_logits, box_deltas = self.multibox_head(features)
        if self.segmentation_head:
            seg_logits = self.segmentation_head(features)
        return RawPredictions(class_logits, box_deltas, seg_logits)


def normalize_images(
    images: Tensor, mean: Sequence[float] | Tensor, std: Sequence[float] | Tensor
) -> Tensor:
    """(B, 3, S, S) uint8 RGB to float32, normalised as the weights require.

    Args:
        images: on any device.
        mean: per channel, for images in 0..1. A tensor on the GPU avoids synchronising with it.
        std: per channel, likewise.
    """
    offset = torch.as_tensor(mean, device=images.device).view(3, 1, 1) * 255
    scale = torch.as_tensor(std, device=images.device).view(3, 1, 1) * 255
    return (images.float() - offset) / scale


def build(name: str, classes: int = 21, pretrained: bool = False, **overrides: object) -> BlitzNet:
    """Build an untrained network.

    Args:
        name: one of `blitznet.model_info.MODELS`.
        classes: C, background included.
        pretrained: start the backbone from ImageNet weights and use their mean and deviation. The
            weights come from an installed package, or timm downloads them on first use.
        **overrides: any other field of `ModelConfig`: `segment=False`, `backbone="resnet18"`.

    Raises:
        InputError: if a name, field or value is invalid, the weights are not available, or the
            backbone cannot run at the image size.
    """
    values = find_model(name).model_dump() | {"num_classes": classes} | overrides
    if pretrained:
        values |= imagenet_normalization(str(values["backbone"])) | overrides
    try:
        config = ModelConfig.model_validate(values)
    except ValidationError as error:
        raise InputError(f"{name}: {first_problem(error)}") from error
    network = BlitzNet(config, pretrained)
    network.backbone.require_runnable(config.image_size)
    return network
