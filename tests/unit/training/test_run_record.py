"""What a run records of its data, so that a resumed run notices changes."""

import json
from pathlib import Path

import pytest
from PIL import Image

from blitznet.data.description import read_description
from blitznet.errors import RecipeError
from blitznet.training.network import KnownClasses
from blitznet.training.run_record import require_unchanged, write_run
from fixtures.tiny_run import tiny_recipe


def begin(folder: Path, entry: str) -> Path:
    """Record a run on a source of one image with one object; return the data description."""
    data = folder / "data.yaml"
    data.write_text(f"classes: [cat]\ntrain:\n  - {{{entry}}}\n")
    for name in ("images", "labels", "masks"):
        (folder / name).mkdir()
    Image.new("RGB", (20, 20)).save(folder / "images/a.png")
    (folder / "labels/a.txt").write_text("0 0.25 0.25 0.5 0.5\n")
    Image.new("L", (20, 20)).save(folder / "masks/a.png")
    write_outline(folder, [0, 0, 10, 0, 10, 10])
    known = KnownClasses(["cat"], ["cat"])
    write_run(folder, tiny_recipe(), data, read_description(data), known, "fp32")
    return data


def write_outline(folder: Path, outline: list[int]) -> None:
    box = {"id": 1, "image_id": 1, "category_id": 1, "bbox": [0, 0, 10, 10]}
    labels = {
        "images": [{"id": 1, "file_name": "a.png", "width": 20, "height": 20}],
        "annotations": [box | {"segmentation": [outline]}],
        "categories": [{"id": 1, "name": "cat"}],
    }
    (folder / "labels.json").write_text(json.dumps(labels))


COCO = "format: coco, images: images, annotations: labels.json"
YOLO = "format: yolo, root: ., names: [cat], masks: masks"


@pytest.mark.parametrize(
    "entry", [f"{COCO}, masks: from_instances", YOLO, f"{YOLO}, void_missing: true"]
)
def test_a_changed_map_is_noticed(tmp_path: Path, entry: str) -> None:
    data = begin(tmp_path, entry)
    require_unchanged(tmp_path, read_description(data), None)
    write_outline(tmp_path, [0, 0, 10, 0, 0, 10])
    Image.effect_noise((20, 20), 50).save(tmp_path / "masks/a.png")
    with pytest.raises(RecipeError, match="has changed since the run began: labels of train"):
        require_unchanged(tmp_path, read_description(data), None)


def test_outlines_that_are_not_used_may_change(tmp_path: Path) -> None:
    data = begin(tmp_path, COCO)
    write_outline(tmp_path, [0, 0, 10, 0, 0, 10])
    require_unchanged(tmp_path, read_description(data), None)
