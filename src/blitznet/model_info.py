"""Named network configurations: every architectural choice of the paper as one value."""

import math
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, model_validator

from blitznet.errors import InputError, shown

FusionName = Literal["hourglass", "refine", "resskip_without_residual", "resskip"]

Mean = Annotated[float, Field(ge=-1, le=2)]
Deviation = Annotated[float, Field(ge=0.001, le=10)]


# Normalisation for timm's ImageNet weights; a checkpoint stores its own.
IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)


class ModelConfig(BaseModel):
    """Configuration of a network and its anchors; stored in every checkpoint.

    Attributes:
        name: network of MODELS that this was derived from.
        backbone: a timm model with features at strides 4, 8, 16 and 32 that takes images of
            `image_size`; some, such as Swin, take only that of their weights.
        stride_in_1x1: ResNet only: stride 2 on the first 1x1 convolution of a stage, as in the
            original (MSRA) weights, instead of on the 3x3.
        pad_same: TensorFlow's asymmetric padding in the backbone, for weights trained with it.
        image_size: S, side of the square input in pixels.
        finest_stride: stride of the finest level, 4 (s4) or 8 (s8).
        num_classes: C, background included; at most 255 with a segmentation head, whose maps are
            uint8.
        background_rows: number of classifier rows that together are background; more than one
            after fine-tuning to some of another network's classes, see `training.network`.
        detect: whether there is a multibox head.
        segment: whether there is a segmentation head.
        fusion: block of the up-scale stream (table 8); None = no up-scale stream, heads on the
            skips (SSD).
        downscale_width: channels of the down-scale stream (section 4.2; the authors' code: 2048).
        upscale_width: channels of the up-scale stream (section 4.2).
        seg_width: channels per level in the segmentation head (section 3.6).
        finest_scale: anchor side at the finest level, fraction of S.
        min_scale: anchor side at the second finest level, fraction of S.
        max_scale: anchor side at the coarsest level, fraction of S.
        box_prior: in prediction, weigh the pixels of a class by the score of its best box (D31).
        mean: per RGB channel, of images in 0..1.
        std: per RGB channel.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    name: str = Field(min_length=1, max_length=200)
    # Excludes "hf-hub:" and "local-dir:", which make timm load models from outside its own list.
    backbone: str = Field(default="resnet50", max_length=100, pattern=r"^[A-Za-z0-9_.]+$")
    stride_in_1x1: bool = False
    pad_same: bool = False
    image_size: int = Field(ge=33, le=2048)
    finest_stride: Literal[4, 8]
    num_classes: int = Field(default=21, ge=2, le=255)
    background_rows: int = Field(default=1, ge=1, le=1000)
    detect: bool = True
    segment: bool = True
    fusion: FusionName | None = "resskip"
    downscale_width: int = Field(default=512, ge=4, le=2048)
    upscale_width: int = Field(default=512, ge=4, le=2048)
    seg_width: int = Field(default=64, ge=1, le=1024)
    finest_scale: float = Field(ge=0.001, le=1)
    min_scale: float = Field(ge=0.001, le=1)
    max_scale: float = Field(default=0.95, ge=0.001, le=1)
    box_prior: bool = False
    mean: tuple[Mean, Mean, Mean] = IMAGENET_MEAN
    std: tuple[Deviation, Deviation, Deviation] = IMAGENET_STD

    @model_validator(mode="after")
    def _has_a_task(self) -> "ModelConfig":
        if not (self.detect or self.segment):
            raise ValueError("a network needs at least one task: detect or segment")
        return self

    @property
    def backbone_strides(self) -> tuple[int, ...]:
        """Strides of the backbone stages in use, finest first."""
        return tuple(stride for stride in (4, 8, 16, 32) if stride >= self.finest_stride)

    @property
    def level_sizes(self) -> tuple[int, ...]:
        """Side of every feature map, finest first.

        The backbone's stages, then stride-2 blocks down to 3 or 2, then a global average pool to 1.
        """
        sizes = [math.ceil(self.image_size / stride) for stride in self.backbone_strides]
        while sizes[-1] > 3:
            sizes.append(math.ceil(sizes[-1] / 2))
        if sizes[-1] > 1:
            sizes.append(1)
        return tuple(sizes)


def _blitznet(
    name: str, size: int, stride: Literal[4, 8], finest: float, second: float
) -> ModelConfig:
    return ModelConfig(
        name=name, image_size=size, finest_stride=stride, finest_scale=finest, min_scale=second
    )


BLITZNET300 = _blitznet("blitznet300", 300, 4, 0.04, 0.10)
BLITZNET300_S8 = _blitznet("blitznet300-s8", 300, 8, 0.10, 0.20)
BLITZNET512 = _blitznet("blitznet512", 512, 8, 0.04, 0.10)
BLITZNET512_S4 = _blitznet("blitznet512-s4", 512, 4, 0.02, 0.08)

# MobileNetV2 with narrow streams, for CPUs and edge devices (D1).
BLITZNET300_MOBILE = BLITZNET300_S8.model_copy(
    update={
        "name": "blitznet300-mobile",
        "backbone": "mobilenetv2_100",
        "downscale_width": 160,
        "upscale_width": 160,
    }
)

# Table 1, "SSD300* (our reimpl)": the same down-scale stream, no up-scale stream, boxes only.
_SSD = {"fusion": None, "segment": False}
SSD300 = BLITZNET300_S8.model_copy(update={"name": "ssd300", **_SSD})
SSD512 = BLITZNET512.model_copy(update={"name": "ssd512", **_SSD})

_FAMILY = (
    BLITZNET300, BLITZNET300_S8, BLITZNET512, BLITZNET512_S4, BLITZNET300_MOBILE, SSD300, SSD512,
)  # fmt: skip
MODELS: dict[str, ModelConfig] = {config.name: config for config in _FAMILY}


def find_model(name: str) -> ModelConfig:
    """Look up a configuration by name.

    Raises:
        InputError: if there is none.
    """
    if name not in MODELS:
        raise InputError(f"no network is called {shown(name)}; choose from {', '.join(MODELS)}")
    return MODELS[name]
