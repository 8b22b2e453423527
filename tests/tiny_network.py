"""Small networks for tests: a real, untrained one, and one with known results."""

from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import torch
from torch import Tensor, nn
from torch.nn.functional import adaptive_avg_pool2d

from blitznet.detection.anchors import anchors_of
from blitznet.inference.engines.torch_engine import TorchEngine
from blitznet.inference.predictor import Predictor
from blitznet.model.blitznet import BlitzNet
from blitznet.model.checkpoint import save_checkpoint
from blitznet.model_files import CheckpointInfo
from blitznet.model_info import BLITZNET300_MOBILE, ModelConfig
from blitznet.structures import RawPredictions

NAMES = ("background", "red", "green", "blue")
SIZE = 64


def tiny_config(**overrides: object) -> ModelConfig:
    """A configuration with 64 pixels and four classes."""
    small = {"image_size": SIZE, "downscale_width": 16, "upscale_width": 16, "seg_width": 8}
    values = {"num_classes": len(NAMES), **small, **overrides}
    return BLITZNET300_MOBILE.model_copy(update=values)


def anchors_of_levels(
    image_size: int, level_sizes: Sequence[int], finest: float, second: float, coarsest: float
) -> Tensor:
    """Anchors on feature maps of any sizes, with the scales of the first two and the last."""
    config = SimpleNamespace(
        image_size=image_size,
        level_sizes=level_sizes,
        finest_scale=finest,
        min_scale=second,
        max_scale=coarsest,
    )
    return anchors_of(config)  # type: ignore[arg-type]


def tiny_model(**overrides: object) -> BlitzNet:
    """An untrained network; see `tiny_config`."""
    torch.manual_seed(0)
    return BlitzNet(tiny_config(**overrides))


def tiny_predictor(**overrides: object) -> Predictor:
    model = tiny_model(**overrides)
    return predictor_of(model)


def predictor_of(model: nn.Module) -> Predictor:
    """A predictor with PyTorch on the CPU."""
    info = CheckpointInfo(model=model.config, names=NAMES)
    return Predictor(TorchEngine(model, info, torch.device("cpu")))  # type: ignore[arg-type]


def save_tiny_checkpoint(path: Path) -> Path:
    model = tiny_model()
    info = CheckpointInfo(
        model=model.config,
        names=NAMES,
        metrics={"toy val": {"mean_ap": {"voc07": 0.5, "coco": None}, "mean_iou": 0.25}},
        training={"data": "none", "steps": 0, "minutes": 0.0, "licence": "free"},
    )
    save_checkpoint(path, model, info)
    return path


class ColourNetwork(nn.Module):
    """Labels pixels by their strongest colour, and finds a green object with score 0.9 in OBJECT.

    The map has 16 x 16 logits: 0 for background and the mean brightness of each channel above 0.1.
    """

    OBJECT = (16.0, 8.0, 48.0, 24.0)  # xyxy of 64: a quarter to three quarters, an eighth to three
    anchors: Tensor

    def __init__(self, detect: bool = True, segment: bool = True) -> None:
        super().__init__()
        self.config = ModelConfig(
            name="colours",
            image_size=SIZE,
            finest_stride=8,
            num_classes=len(NAMES),
            detect=detect,
            segment=segment,
            finest_scale=0.2,
            min_scale=0.3,
            mean=(0.1, 0.1, 0.1),
            std=(1.0, 1.0, 1.0),
        )
        self.register_buffer("anchors", torch.tensor([self.OBJECT]))

    def forward(self, images: Tensor) -> RawPredictions:
        class_logits = box_deltas = seg_logits = None
        if self.config.detect:
            odds = torch.tensor([1.0, 1e-9, 9.0, 1e-9])  # background, red, green, blue
            class_logits = odds.log().expand(len(images), 1, len(NAMES))
            box_deltas = torch.zeros(len(images), 1, 4)
        if self.config.segment:
            colours = adaptive_avg_pool2d(images, 16)
            seg_logits = torch.cat((torch.zeros_like(colours[:, :1]), colours), dim=1)
        return RawPredictions(class_logits, box_deltas, seg_logits)


def colour_predictor(detect: bool = True, segment: bool = True) -> Predictor:
    return predictor_of(ColourNetwork(detect, segment))
