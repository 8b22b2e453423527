"""Training on nearly empty data: no error, no NaN loss, all weights finite."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from safetensors.torch import load_file

from blitznet.classes import IGNORE_INDEX
from blitznet.data.description import DataDescription, VocEntry
from blitznet.training.loop import MODEL_FILE
from blitznet.training.validation import BEST_FILE, LAST_FILE, read_validation
from fixtures.make_fixtures import VOC_MINI
from fixtures.tiny_run import MIXED, ON_CPU, read_state, tiny_recipe, train_steps

pytestmark = pytest.mark.usefixtures("small_network")

ALL = ("000001", "000002", "000003", "000004", "000006")


def describe(folder: Path, ids: tuple[str, ...] = ALL, **options: Any) -> DataDescription:
    """Some of the drawn images, in a folder whose labels can be changed."""
    voc = folder / "VOC"
    if not voc.exists():
        shutil.copytree(VOC_MINI, voc)
    (voc / "ImageSets" / "few.txt").write_text("\n".join(ids))
    fields: dict[str, Any] = {"boxes": True, "masks": "SegmentationClass"} | options
    entry = VocEntry(format="voc", root=voc, image_set="few", **fields)
    return MIXED.model_copy(update={"splits": {"train": [entry], "val": [entry]}})


def assert_trains(data: DataDescription, run: Path, **changes: Any) -> list[dict[str, float]]:
    recipe = tiny_recipe(**({"steps": 4} | changes))
    rows = list(train_steps(recipe, data, run, replace(ON_CPU, validate_every=2)))
    assert rows[-1]["step"] == recipe.steps
    for tensors in (read_state(run), load_file(run / MODEL_FILE)):
        assert all(tensor.isfinite().all() for tensor in tensors.values())
    return rows


def blank(xml: str) -> str:
    """An annotation that labels no object."""
    first, last = xml.index("<object>"), xml.rindex("</object>") + len("</object>")
    return xml[:first] + xml[last:]


@pytest.mark.parametrize("class_balance", [0.0, 0.9])
def test_classes_without_an_image_and_a_class_with_one(
    tmp_path: Path, class_balance: float
) -> None:
    """The drawn images show few of twenty classes."""
    data = describe(tmp_path)
    (source,) = data.open_split("train")
    shown = [set(source.read(index).labels.tolist()) for index in range(len(source))]
    counts = [sum(label in labels for labels in shown) for label in range(1, 21)]
    assert {0, 1} <= set(counts)
    assert_trains(data, tmp_path / "run", class_balance=class_balance)


def test_three_images_fill_a_batch_of_sixteen(tmp_path: Path) -> None:
    assert_trains(describe(tmp_path, ALL[:3]), tmp_path / "run", global_batch_size=16, steps=2)


def test_one_image(tmp_path: Path) -> None:
    assert_trains(describe(tmp_path, ALL[:1]), tmp_path / "run")


def test_images_without_any_object_cost_detection_nothing(tmp_path: Path) -> None:
    data = describe(tmp_path)
    for path in (tmp_path / "VOC" / "Annotations").glob("*.xml"):
        text = path.read_text()
        path.write_text(blank(text) if "<object>" in text else text)
    rows = assert_trains(data, tmp_path / "run")
    assert all(row["classification"] == row["box"] == 0 for row in rows)
    assert all(row["with_boxes"] == 1 and row["segmentation"] > 0 for row in rows)


def test_batches_with_nothing_labelled_cost_nothing(tmp_path: Path) -> None:
    """All maps are void, so there is nothing to measure either."""
    data = describe(tmp_path, boxes=False)
    for path in (tmp_path / "VOC" / "SegmentationClass").glob("*.png"):
        with Image.open(path) as seg_map:
            void = np.full(seg_map.size[::-1], IGNORE_INDEX, np.uint8)
            palette = seg_map.getpalette()
        image = Image.fromarray(void)
        assert palette is not None
        image.putpalette(palette)
        image.save(path)
    rows = assert_trains(data, tmp_path / "run", accumulate=2)
    assert all(row["classification"] == row["box"] == row["segmentation"] == 0 for row in rows)
    assert [row["score"] for row in read_validation(tmp_path / "run")] == [None]
    assert (tmp_path / "run" / LAST_FILE).exists()
    assert not (tmp_path / "run" / BEST_FILE).exists()
