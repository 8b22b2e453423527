"""A network memorises four images: every box and nearly every pixel.

An error in labels, augmentation, matching, losses, decoding or metrics shows here.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
import torch

from blitznet.classes import VOC_CLASSES
from blitznet.data.description import DataDescription, VocEntry
from blitznet.data.ssd_policy import Augmentation
from blitznet.evaluation.evaluate import measure
from blitznet.evaluation.metrics import Metrics
from blitznet.inference.engines.torch_engine import TorchEngine
from blitznet.model.checkpoint import load_checkpoint
from blitznet.model_info import BLITZNET300_MOBILE, ModelConfig
from blitznet.training.loop import MODEL_FILE
from blitznet.training.network import fit_to_start
from blitznet.training.recipe import Recipe
from fixtures.make_fixtures import VOC_MINI
from fixtures.tiny_run import ON_CPU, TINY, tiny_recipe, train_steps

pytestmark = [pytest.mark.slow, pytest.mark.timeout(3600)]


def learn_by_heart(root: Path, ids: Sequence[str], folder: Path, recipe: Recipe) -> Metrics:
    """Metrics of a network on the images that it was trained on."""
    voc = folder / "VOC"
    (voc / "ImageSets").mkdir(parents=True)
    (voc / "ImageSets" / "few.txt").write_text("\n".join(ids))
    for kind in ("JPEGImages", "Annotations", "SegmentationClass"):
        (voc / kind).symlink_to((root / kind).resolve())
    entry = VocEntry(format="voc", root=voc, image_set="few", masks="SegmentationClass")
    data = DataDescription.model_validate(
        {"classes": list(VOC_CLASSES[1:]), "splits": {"train": [entry]}}
    )
    for _ in train_steps(recipe, data, folder / "run", ON_CPU):
        pass
    network, info = load_checkpoint(folder / "run" / MODEL_FILE)
    sources = data.open_split("train")
    return measure(TorchEngine(network, info, torch.device("cpu")), sources, workers=0)


def recipe_by_heart(model: ModelConfig, **changes: Any) -> Recipe:
    """Augmentation without the changes that make images hard to recognise."""
    augmentation = Augmentation(zoom_out_probability=0, photometric=False)
    fixed = {"warmup_steps": 10, "ema_decay": None}
    return tiny_recipe(model=model, augmentation=augmentation, **fixed, **changes)


def test_a_fresh_network_learns_four_drawn_images_by_heart(tmp_path: Path) -> None:
    ids = ["000001", "000002", "000003", "000004"]
    # Stride 4 for the outlines; narrow streams, as four images are soon known.
    shape = {"image_size": 96, "finest_stride": 4, "finest_scale": 0.12, "min_scale": 0.25}
    widths = {"downscale_width": 64, "upscale_width": 64, "seg_width": 32}
    recipe = recipe_by_heart(TINY.model_copy(update=shape | widths), steps=150, lr=3e-3)
    metrics = learn_by_heart(VOC_MINI, ids, tmp_path, recipe)
    assert metrics.pictures == 4
    assert metrics.mean_ap is not None
    assert metrics.mean_ap["voc07"] == metrics.mean_ap["voc12"] == 1
    assert metrics.mean_iou is not None
    assert metrics.mean_iou > 0.9


@pytest.mark.data
def test_the_bundled_network_learns_four_real_images_by_heart(tmp_path: Path) -> None:
    """BLITZNET_DATA names a VOCdevkit."""
    root = Path(os.environ["BLITZNET_DATA"]) / "VOC2012"
    ids = images_of_few_large_objects(root, count=4)
    start = {"start_from": BLITZNET300_MOBILE.name, "freeze_stride": 4}
    recipe = recipe_by_heart(BLITZNET300_MOBILE, steps=200, lr=2e-3, precision="bf16", **start)
    metrics = learn_by_heart(root, ids, tmp_path, fit_to_start(recipe))
    assert metrics.pictures == 4
    assert metrics.mean_ap is not None
    assert metrics.mean_ap["voc07"] == metrics.mean_ap["voc12"] == 1
    assert metrics.mean_iou is not None
    assert metrics.mean_iou > 0.9


def images_of_few_large_objects(root: Path, count: int) -> list[str]:
    """The first images with one to three objects, each over a tenth of the image."""
    source = VocEntry(root=root, image_set="Segmentation/val", masks="SegmentationClass").open(
        Path(), VOC_CLASSES
    )
    found: list[str] = []
    for index in range(len(source)):
        sample = source.read(index)
        assert sample.boxes is not None
        width, height = sample.size
        areas = (sample.boxes[:, 2:] - sample.boxes[:, :2]).prod(axis=1) / (width * height)
        if 1 <= len(areas) <= 3 and areas.min() > 0.1 and not sample.difficult.any():
            found.append(source.image_id(index))
        if len(found) == count:
            return found
    raise AssertionError(f"{root} has only {len(found)} such images")
