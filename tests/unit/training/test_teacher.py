"""A teacher's labels for a batch, compared with a loop, and a student that learns from them."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from blitznet.detection.anchors import anchors_of
from blitznet.detection.matcher import match_anchors
from blitznet.errors import RecipeError
from blitznet.model.blitznet import normalize_images
from blitznet.model.checkpoint import load_checkpoint
from blitznet.structures import Batch, SoftLabels
from blitznet.training.teacher import Teacher, mean_labels
from labelled_batch import labelled_batch
from tiny_network import NAMES, save_tiny_checkpoint, tiny_config, tiny_model


@pytest.fixture
def checkpoint(tmp_path: Path) -> Path:
    return save_tiny_checkpoint(tmp_path / "teacher.safetensors")


@pytest.fixture
def batch() -> Batch:
    return labelled_batch(tiny_config(), torch.Generator().manual_seed(0))


def test_it_gives_each_object_the_mean_of_its_anchors_and_each_pixel_its_probabilities(
    checkpoint: Path, batch: Batch
) -> None:
    teacher = Teacher(str(checkpoint), NAMES, torch.device("cpu"))
    soft = teacher.soft_labels(batch)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = teacher.soft_labels(batch)
    for precise, rough in zip(soft, rounded, strict=True):
        torch.testing.assert_close(rough, precise, atol=0.02, rtol=0)  # compares dtypes, too
    network, info = load_checkpoint(checkpoint)
    mean, std = torch.tensor(info.model.mean), torch.tensor(info.model.std)
    with torch.no_grad():
        raw = network.eval()(normalize_images(batch.images, mean, std))
    assert soft.of_pixels is not None
    torch.testing.assert_close(soft.of_pixels, raw.seg_logits.softmax(1))
    match = match_anchors(anchors_of(info.model), batch.boxes, batch.labels)
    for image, box in ((i, g) for i in range(len(match)) for g in range(batch.labels.shape[1])):
        own = raw.class_logits[image, match[image] == box].softmax(dim=1)
        expected = own.mean(dim=0) if len(own) else torch.zeros(len(NAMES))
        torch.testing.assert_close(soft.of_boxes[image, box], expected)


def test_a_student_of_another_size_gets_labels_for_the_same_objects(
    checkpoint: Path, batch: Batch
) -> None:
    teacher = Teacher(str(checkpoint), NAMES, torch.device("cpu"))
    images = batch.images[..., ::2, ::2]
    enlarged = images.repeat_interleave(2, 2).repeat_interleave(2, 3)
    small = teacher.soft_labels(replace(batch, images=images, boxes=batch.boxes / 2))
    large = teacher.soft_labels(replace(batch, images=enlarged))
    # The same boxes and nearly the same image: bilinear against repeated pixels.
    torch.testing.assert_close(small.of_boxes.sum(2), large.of_boxes.sum(2))
    torch.testing.assert_close(small.of_boxes, large.of_boxes, atol=0.05, rtol=0)


def test_of_several_teachers_the_mean_counts_without_background_at_the_highest_resolution() -> None:
    left, right = [0.4, 0.6, 0.0], [0.8, 0.0, 0.2]
    one_map, other_map = torch.rand(1, 3, 3, 3), torch.rand(1, 3, 6, 6)
    one = SoftLabels(torch.tensor([[left, right, [0.0, 0.0, 0.0]]]), one_map)
    other = SoftLabels(torch.tensor([[right, [0.0, 0.0, 0.0], [0.0, 0.0, 0.0]]]), other_map)
    mean = mean_labels([one, other])
    # An object for which one teacher has no anchor gets the other's label; without both, none.
    expected = torch.tensor([[[0.0, 0.75, 0.25], [0.0, 0.0, 1.0], [0.0, 0.0, 0.0]]])
    torch.testing.assert_close(mean.of_boxes, expected)
    # At twice the size, the second pixel is a quarter of a pixel away from the coarse first one.
    coarse = 0.75 * one_map[..., 0, 0] + 0.25 * one_map[..., 0, 1]
    assert mean.of_pixels is not None
    torch.testing.assert_close(mean.of_pixels[..., 0, 1], (coarse + other_map[..., 0, 1]) / 2)


def test_a_teacher_must_have_both_heads_and_the_same_classes(
    checkpoint: Path, tmp_path: Path
) -> None:
    for names in (NAMES[:-1], (NAMES[0], *reversed(NAMES[1:]))):
        with pytest.raises(RecipeError, match=r"knows 'red, green, blue', the data has .*order"):
            Teacher(str(checkpoint), names, torch.device("cpu"))
    from blitznet.model.checkpoint import save_checkpoint
    from blitznet.model_files import CheckpointInfo

    path, network = tmp_path / "boxes.safetensors", tiny_model(segment=False)
    save_checkpoint(path, network, CheckpointInfo(model=network.config, names=NAMES))
    with pytest.raises(RecipeError, match="must both detect and segment"):
        Teacher(str(path), NAMES, torch.device("cpu"))
    network = tiny_model()
    part = CheckpointInfo(model=network.config, names=NAMES, supervised_masks=list(NAMES[2:]))
    save_checkpoint(path, network, part)
    with pytest.raises(RecipeError, match=f"trained without labels of {NAMES[1]}; a teacher must"):
        Teacher(str(path), NAMES, torch.device("cpu"))
