"""The feature encoder: ResNet-50 in the paper, any timm model with features at strides 4 to 32."""

from pathlib import Path

import timm
from safetensors.torch import load_file
from torch import Tensor, nn

from blitznet.errors import CheckpointError, InputError
from blitznet.model.config import ModelConfig


class Backbone(nn.Module):
    """Stages of a timm model, finest first.

    Attributes:
        channels: of every stage that `forward` returns.
    """

    def __init__(self, config: ModelConfig, pretrained: bool = False):
        super().__init__()
        options = {"pad_type": "same"} if config.pad_same else {}
        self.body = timm.create_model(
            config.backbone, features_only=True, pretrained=pretrained, **options
        )
        strides: list[int] = self.body.feature_info.reduction()
        missing = set(config.backbone_strides) - set(strides)
        if missing:
            raise InputError(
                f"backbone {config.backbone} gives features at strides {strides}, "
                f"but {config.name} needs {config.backbone_strides}; choose another timm model"
            )
        self.stage_indices = [strides.index(stride) for stride in config.backbone_strides]
        channels: list[int] = self.body.feature_info.channels()
        self.channels = [channels[index] for index in self.stage_indices]
        if config.stride_in_1x1:
            _move_stride_to_1x1(self.body)

    def forward(self, images: Tensor) -> list[Tensor]:
        """(B, 3, S, S) normalised to one (B, channels, size, size) a stage, finest first."""
        stages = self.body(images)
        return [stages[index] for index in self.stage_indices]

    def load_imagenet(self, path: Path) -> list[str]:
        """Start from a classifier's safetensors file that uses timm's names.

        Returns:
            The names of this backbone's tensors that the file lacks; they keep their fresh values.

        Raises:
            CheckpointError: if the file holds less than half of the backbone.
        """
        weights = load_file(path)
        missing, _ = self.body.load_state_dict(
            {name: tensor.float() for name, tensor in weights.items()}, strict=False
        )
        missing = [name for name in missing if not name.endswith("num_batches_tracked")]
        if len(missing) * 2 > len(self.body.state_dict()):
            raise CheckpointError(
                f"{path} holds few of this backbone's tensors (missing: {missing[0]}, ...); "
                "give the safetensors file of a timm classifier of the same architecture"
            )
        return missing

    def freeze(self, stride: int) -> None:
        """Fix weights and batch statistics of all layers up to and including a stride; 0 = of none.

        Call it after `train()`, which would set the batch norms going again.
        """
        reductions: list[int] = self.body.feature_info.reduction()
        if stride == 0:
            return
        last_stage: str = self.body.feature_info.module_name(reductions.index(stride))
        layers = [(name, m) for name, m in self.body.named_modules() if not any(m.children())]
        belongs = [name == last_stage or name.startswith(f"{last_stage}.") for name, _ in layers]
        last_layer = max(index for index, inside in enumerate(belongs) if inside)
        for _, layer in layers[: last_layer + 1]:
            layer.requires_grad_(False).eval()


def _move_stride_to_1x1(body: nn.Module) -> None:
    """The original ResNet's bottleneck: the first block of a stage strides in its first convolution."""
    for stage in (body.layer2, body.layer3, body.layer4):
        block = stage[0]
        block.conv1.stride, block.conv2.stride = block.conv2.stride, block.conv1.stride
