"""What the twins of the paper's experiments on the nine-class VOC subset have in common."""

from collections.abc import Mapping
from typing import Any

from blitznet.data.ssd_policy import Augmentation
from blitznet.model_info import BLITZNET300_MOBILE
from blitznet.paper.experiment import Experiment, derive
from blitznet.paper.figure import Figure, class_figures
from blitznet.training.recipe import Recipe

# The budget of every twin: one constant each to change.
STEPS = 400
SEEDS = (0, 1)
IMAGE_SIZE = 192  # for 300
LARGE_IMAGE_SIZE = 320  # for 512, about the same ratio

NINE = ("person", "car", "bus", "train", "cat", "dog", "cow", "horse", "sheep")
FIVE = ("person", "car", "bus", "train", "cat")  # those with enough pictures in VOC07 test

VAL_AP = Figure("mAP", "val", ("mean_ap", "voc12"), NINE)
VAL_IOU = Figure("mIoU", "val", ("mean_iou",), NINE)
TEST07_AP = Figure("mAP", "test07", ("mean_ap", "voc07"), FIVE)
TEST07_CLASS_APS = class_figures(TEST07_AP, FIVE)

# The recipe of the bundled network when the twins were made, and fixed since, so that a better
# default does not make their figures incomparable: MobileNetV2 with TensorFlow's ImageNet weights,
# which go with their own padding and normalisation.
RECIPE = Recipe(
    name="subset",
    model=BLITZNET300_MOBILE.model_copy(
        update={
            "image_size": IMAGE_SIZE,
            "pad_same": True,
            "mean": (0.5, 0.5, 0.5),
            "std": (0.5, 0.5, 0.5),
        }
    ),
    backbone_weights="weights/mobilenetv2_100_imagenet.safetensors",
    steps=STEPS,
    global_batch_size=16,
    optimizer="adamw",
    lr=1.2e-3,
    backbone_lr_scale=0.1,
    schedule="cosine",
    warmup_steps=50,
    weight_decay=2e-2,
    clip_grad_norm=10.0,
    ema_decay=0.99,
    freeze_stride=4,
    augmentation=Augmentation(zoom_out_probability=0.4, zoom_out_max=2.5),
)

TITLE = (
    "twins: nine-class VOC subset, MobileNetV2 with 160-wide streams instead of ResNet-50 (D1), "
    f"{IMAGE_SIZE} pixels instead of 300, {STEPS} steps of {RECIPE.global_batch_size} pictures; "
    "not comparable with the paper's"
)


def twin(
    name: str,
    row: str,
    model: Mapping[str, Any],
    figures: tuple[Figure, ...],
    data: str = "voc-subset",
) -> Experiment:
    """A row of the paper on the subset.

    Args:
        name: as "subset-table3-both".
        row: of the table that the name says.
        model: fields of the network that differ from `blitznet300-mobile`'s.
        figures: see `Experiment`.
        data: see `Experiment`.
    """
    table = name.split("-")[1].removeprefix("table")
    recipe = derive(RECIPE, name=name, model=dict(model))
    source = f"twin of table {table}, {row}"
    return Experiment(source, recipe, data, figures=figures, seeds=SEEDS, is_twin=True)
