"""One data description that mixes formats and completeness, trained from end to end."""

import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from blitznet.classes import VOC_CLASSES
from blitznet.data.description import DataDescription, read_description
from blitznet.training.loop import MODEL_FILE
from fixtures.make_fixtures import VOC_MINI
from fixtures.tiny_run import (
    ON_CPU,
    assert_same_tensors,
    read_log,
    read_state,
    tiny_recipe,
    train_steps,
)

CAR, PERSON = VOC_CLASSES.index("car"), VOC_CLASSES.index("person")


@pytest.fixture
def mixed(tmp_path: Path) -> DataDescription:
    """VOC with maps, VOC with boxes only, YOLO with boxes, a folder of maps: 6 + 5 + 6 + 5."""
    shutil.copytree(VOC_MINI, tmp_path / "voc")
    yolo, maps = tmp_path / "yolo", tmp_path / "maps"
    for folder in (yolo / "images", yolo / "labels", maps / "images", maps / "ids"):
        folder.mkdir(parents=True)
    for path in sorted((VOC_MINI / "JPEGImages").glob("*.jpg")):
        shutil.copy(path, yolo / "images" / path.name)
        (yolo / "labels" / f"{path.stem}.txt").write_text("0 0.5 0.5 0.4 0.6\n1 0.3 0.3 0.2 0.2\n")
    (yolo / "names.txt").write_text("auto\nperson\n")
    for path in sorted((VOC_MINI / "SegmentationClass").glob("*.png")):
        shutil.copy(VOC_MINI / "JPEGImages" / f"{path.stem}.jpg", maps / "images")
        with Image.open(path) as image:
            ids = np.where(np.asarray(image) == PERSON, 1, 0).astype(np.uint8)
        Image.fromarray(ids).save(maps / "ids" / path.name)
    path = tmp_path / "data.yaml"
    path.write_text(
        """
        classes: voc
        train:
          - {format: voc, root: voc, image_set: Main/trainval, masks: SegmentationClass}
          - {format: voc, root: voc, image_set: Segmentation/trainval, weight: 2}
          - {format: yolo, root: yolo, names: yolo/names.txt, label_map: {auto: car}}
          - format: masks
            images: maps/images
            masks: maps/ids
            values: {0: background, 1: human}
            label_map: {human: person}
            labels_only: [person]
        """
    )
    return read_description(path)


def test_every_source_says_what_it_knows(mixed: DataDescription) -> None:
    full, boxes_only, yolo, maps_only = (source.read(1) for source in mixed.open_split("train"))
    assert full.boxes is not None
    assert full.seg_map is not None
    assert boxes_only.boxes is not None
    assert boxes_only.seg_map is None
    assert yolo.labels.tolist() == [CAR, PERSON]
    assert yolo.seg_map is None
    assert maps_only.boxes is None
    assert maps_only.seg_map is not None
    assert set(np.unique(maps_only.seg_map)) <= {0, PERSON}
    assert maps_only.known_classes is not None
    assert np.flatnonzero(maps_only.known_classes).tolist() == [0, PERSON]


def test_a_mixture_trains_and_logs_what_its_batches_are_made_of(
    mixed: DataDescription, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("blitznet.training.loop.LOG_EVERY", 1)
    recipe = tiny_recipe(steps=11)
    rows = list(train_steps(recipe, mixed, tmp_path / "run", ON_CPU))
    assert (tmp_path / "run" / MODEL_FILE).exists()
    assert all(np.isfinite(list(row.values())).all() for row in rows)
    assert {float(row["with_boxes"]) % 0.25 for row in read_log(tmp_path / "run")} == {0}
    # Over two passes of 22 draws: 17 of 22 images have boxes by number and by weight 22 of 27,
    # maps come from 10 images, one of them without a file; each draw rounded, at most one off.
    drawn = 4 * sum(row["with_boxes"] for row in rows)
    assert drawn == pytest.approx(2 * 22 * 22 / 27, abs=2)
    drawn = 4 * sum(row["with_maps"] for row in rows)
    assert drawn == pytest.approx(2 * 22 * 10 / 27, abs=2)


def test_a_stopped_run_on_a_mixture_goes_on_bit_for_bit(
    mixed: DataDescription, tmp_path: Path
) -> None:
    recipe = tiny_recipe(steps=4, class_balance=0.5)
    list(train_steps(recipe, mixed, tmp_path / "whole", ON_CPU))
    list(train_steps(recipe, mixed, tmp_path / "parts", replace(ON_CPU, max_minutes=0)))
    list(train_steps(recipe, mixed, tmp_path / "parts", ON_CPU, resume=True))
    assert_same_tensors(read_state(tmp_path / "whole"), read_state(tmp_path / "parts"))
