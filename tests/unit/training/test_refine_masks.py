"""`blitznet.refine_masks` on drawn images, with a network whose results are known."""

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from blitznet import InputError, refine_masks
from blitznet.data.description import read_description
from blitznet.inference.engines.engine import EngineOutput
from blitznet.model_files import CheckpointInfo
from blitznet.training import refine_masks as module
from tiny_network import tiny_config

VOID = 255
DATA = """
classes: [cat, dog]
train:
  - {format: yolo, root: set, names: [cat, dog], masks: from_boxes, refined_masks: maps}
  - {format: yolo, root: apart, names: [cat, dog]}
  - {format: yolo, root: mapped, names: [cat, dog], masks: mapped/maps}
"""


class SeesCats:
    """Predicts a cat in the upper half of each image; does not know dogs."""

    def __init__(self, info: object):
        self.info = info

    def run(self, *_: object, **__: object) -> EngineOutput:
        logits = np.full((1, 2, 8, 8), -10, np.float32)
        logits[:, 1, :4] = logits[:, 0, 4:] = 10
        return EngineOutput([], logits)

    def close(self) -> None:
        pass


@pytest.fixture
def data(tmp_path: Path) -> Path:
    for name in ("set", "apart", "mapped"):
        for part in ("images/deep", "labels/deep"):
            (tmp_path / name / part).mkdir(parents=True)
        Image.new("RGB", (40, 20)).save(tmp_path / name / "images/deep/a.png")
        (tmp_path / name / "labels/deep/a.txt").write_text("0 0.25 0.5 0.5 1\n1 0.9 0.5 0.2 1\n")
    (tmp_path / "mapped/maps/deep").mkdir(parents=True)
    Image.new("L", (40, 20)).save(tmp_path / "mapped/maps/deep/a.png")
    path = tmp_path / "data.yaml"
    path.write_text(DATA)
    return path


@pytest.fixture(autouse=True)
def _network(monkeypatch: pytest.MonkeyPatch) -> None:
    info = CheckpointInfo(model=tiny_config(num_classes=2), names=("background", "cat"))
    monkeypatch.setattr(module, "open_engine", lambda *_: SeesCats(info))


def test_images_with_boxes_only_get_a_map_which_training_then_reads(data: Path) -> None:
    refined = refine_masks(data, data.parent / "maps")
    assert (refined.written, refined.maps) == (2, 2)  # the third source has maps of its own
    seg_map = read_description(data).open_split("train")[0].read(0).seg_map
    assert seg_map is not None
    assert (seg_map[:9, :20] == 1).all()  # the cat's box, where the network sees one
    assert (seg_map[11:, :20] == 0).all()
    # The dog's box, which overlaps nothing: its middle alone, as without a network.
    assert set(seg_map[10, 32:].tolist()) == {2, VOID}
    in_boxes = np.delete(seg_map, slice(20, 32), axis=1)
    assert refined.decided == (in_boxes != VOID).mean()


def test_a_second_call_makes_what_is_missing_and_nothing_else(data: Path) -> None:
    maps = data.parent / "maps"
    refine_masks(data, maps)
    first, second = maps / "set/images/deep/a.png", maps / "apart/images/deep/a.png"
    content, time = first.read_bytes(), first.stat().st_mtime_ns
    second.unlink()
    assert refine_masks(data, maps).written == 1
    assert second.is_file()
    assert (first.read_bytes(), first.stat().st_mtime_ns) == (content, time)
    with pytest.raises(InputError, match="made with another network, confidence"):
        refine_masks(data, maps, confidence=0.5)
    assert refine_masks(data, maps, confidence=0.5, overwrite=True).written == 2


def test_maps_of_other_boxes_or_of_another_network_are_replaced_but_no_edited_one(
    data: Path,
) -> None:
    maps = data.parent / "maps"
    refine_masks(data, maps)
    first, second = maps / "set/images/deep/a.png", maps / "apart/images/deep/a.png"
    (data.parent / "apart/labels/deep/a.txt").write_text("0 0.5 0.5 0.5 1\n")
    edited = Image.open(first)
    edited.load()
    edited.save(first)  # without the note of its origin
    content, before = first.read_bytes(), second.read_bytes()
    assert refine_masks(data, maps).written == 1
    assert first.read_bytes() == content
    assert second.read_bytes() != before
    assert refine_masks(data, maps).written == 0
    # As left by a killed call with another confidence, which had written the record, but no map.
    record = json.loads((maps / "refined.json").read_text())
    (maps / "refined.json").write_text(json.dumps(record | {"confidence": 0.5}))
    assert refine_masks(data, maps, confidence=0.5).written == 1


def test_maps_never_replace_images(data: Path) -> None:
    content = (data.parent / "set/images/deep/a.png").read_bytes()
    with pytest.raises(InputError, match=r"a\.png would replace an image; name another folder"):
        refine_masks(data, data.parent, overwrite=True)
    assert (data.parent / "set/images/deep/a.png").read_bytes() == content


def test_a_label_map_does_not_apply_to_refined_maps(data: Path) -> None:
    swap = "label_map: {cat: dog, dog: cat}"
    data.write_text(DATA.replace("refined_masks: maps", f"refined_masks: maps, {swap}"))
    refine_masks(data, data.parent / "maps")
    written = np.asarray(Image.open(data.parent / "maps/set/images/deep/a.png"))
    seg_map = read_description(data).open_split("train")[0].read(0).seg_map
    np.testing.assert_array_equal(seg_map, written)
    assert {1, 2} < set(written.ravel().tolist())


def test_what_cannot_be_done_is_said_before_anything_is_written(data: Path) -> None:
    maps = data.parent / "maps"
    with pytest.raises(InputError, match=r"refined_masks: .* has no classes\.txt"):
        read_description(data).open_split("train")
    data.write_text(DATA.replace("cat, dog", "horse, dog").replace("refined_masks: maps", ""))
    with pytest.raises(InputError, match="knows none of the classes horse, dog"):
        refine_masks(data, maps)
    data.write_text(f"classes: [cat, dog]\ntrain:\n{DATA.splitlines()[-1]}\n")
    with pytest.raises(InputError, match="no image of 'train' has boxes but no segmentation map"):
        refine_masks(data, maps)
    assert not maps.exists()


def test_two_images_do_not_share_a_map(data: Path) -> None:
    names = ("a.png", "a.jpg")
    for name in names:
        Image.new("RGB", (40, 20)).save(data.parent / name)
    images = [{"id": i, "file_name": n, "width": 40, "height": 20} for i, n in enumerate(names)]
    boxes = [{"id": i, "image_id": i, "category_id": 1, "bbox": [0, 0, 20, 20]} for i in range(2)]
    labels = {"images": images, "annotations": boxes, "categories": [{"id": 1, "name": "cat"}]}
    (data.parent / "labels.json").write_text(json.dumps(labels))
    data.write_text(
        "classes: [cat]\ntrain:\n  - {format: coco, images: ., annotations: labels.json}\n"
    )
    with pytest.raises(InputError, match=r"a\.png and .*a\.jpg would share the map .*; rename one"):
        refine_masks(data, data.parent / "maps")
    assert not (data.parent / "maps").exists()
