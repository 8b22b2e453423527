"""The Semantic Boundaries Dataset, with .mat files that scipy writes in its layout."""

import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from blitznet import extras
from blitznet.classes import VOC_CLASSES
from blitznet.data.description import DataDescription
from blitznet.data.labels import ClassTable
from blitznet.data.sbd import SbdEntry
from blitznet.data.seg_map import MapFile, read_mat
from blitznet.errors import InputError, LabelError
from blitznet.structures import Sample
from fixtures.sbd_mat import save_mat

CAT, DOG = VOC_CLASSES.index("cat"), VOC_CLASSES.index("dog")
SIZE = (12, 8)


def drawn_ids() -> np.ndarray:
    ids = np.zeros(SIZE[::-1], np.uint8)
    ids[2:6, 1:5] = CAT
    ids[3:8, 7:12] = DOG
    return ids


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The folder `dataset` with two images, and VOC2012's boxes of the first one."""
    root = tmp_path / "SBD" / "dataset"
    (root / "img").mkdir(parents=True)
    for name in ("2008_000002", "2008_000003"):
        Image.new("RGB", SIZE, (9, 80, 30)).save(root / "img" / f"{name}.jpg")
        save_mat(root / "cls" / f"{name}.mat", drawn_ids())
    (root / "train.txt").write_text("2008_000002\n2008_000003\n")
    boxes = tmp_path / "VOC2012" / "Annotations"
    boxes.mkdir(parents=True)
    (boxes / "2008_000002.xml").write_text(
        "<annotation><object><name>cat</name><bndbox><xmin>2</xmin><ymin>3</ymin><xmax>5</xmax>"
        "<ymax>6</ymax></bndbox></object></annotation>"
    )
    return root


def read(folder: Path, index: int = 0, names: tuple[str, ...] = VOC_CLASSES, **more: str) -> Sample:
    entry = {"format": "sbd", "root": "SBD/dataset", "image_set": "train"} | more
    return SbdEntry.model_validate(entry).open(folder, names).read(index)


def test_the_map_of_a_mat_file_holds_vocs_ids(root: Path) -> None:
    sample = read(root.parents[1], 1)
    assert sample.boxes is None
    assert sample.source == str(root / "img" / "2008_000003.jpg")
    assert sample.seg_map.dtype == np.uint8
    assert sample.seg_map.tolist() == drawn_ids().tolist()


def test_boxes_are_those_of_voc2012(root: Path) -> None:
    entry = {
        "format": "sbd",
        "root": "SBD/dataset",
        "image_set": "train",
        "annotations": "VOC2012/Annotations",
    }
    description = DataDescription(classes="voc", splits={"train": [entry]}, folder=root.parents[1])
    sample = description.open_split("train")[0].read(0)
    assert sample.boxes.tolist() == [[1, 2, 5, 6]]
    assert sample.labels.tolist() == [CAT]


def test_the_map_follows_the_networks_own_classes(root: Path) -> None:
    path = root / "cls" / "2008_000002.mat"
    seg_map = MapFile(path).read(SIZE, ClassTable(("background", "dog", "cat")))
    expected = np.zeros_like(drawn_ids())
    expected[drawn_ids() == CAT] = 2
    expected[drawn_ids() == DOG] = 1
    assert seg_map.tolist() == expected.tolist()
    with pytest.raises(
        LabelError,
        match=rf"^{re.escape(str(path))}: 25 pixels have values .+ stands for: {DOG} \(dog\)$",
    ):
        MapFile(path).read(SIZE, ClassTable(("background", "cat")))


def test_excluded_images_are_left_out(root: Path) -> None:
    (root / "val_seg.txt").write_text("2008_000003\n2009_000001\n")
    entry = SbdEntry(
        format="sbd",
        root=Path("dataset"),
        image_set="train",
        boxes=False,
        exclude=(Path("dataset/val_seg.txt"),),
    )
    source = entry.open(root.parent, VOC_CLASSES)
    assert [source.labels(i).path.stem for i in range(len(source))] == ["2008_000002"]


def test_damaged_and_foreign_files_are_named(root: Path) -> None:
    path = root / "cls" / "2008_000002.mat"
    whole = path.read_bytes()
    name = re.escape(str(path))
    for damaged in (
        b"",
        b"no mat file at all",
        whole[:200],
        whole[:-40],
        whole[:130] + b"\xff" * 90,
        whole + bytes(2**20),  # compressed, it might hold a thousand times as much
    ):
        path.write_bytes(damaged)
        with pytest.raises(LabelError, match=f"^{name} cannot be read as SBD's .mat file: .*$"):
            read_mat(path)
    savemat(path, {"GTinst": {"Segmentation": drawn_ids()}})
    with pytest.raises(
        LabelError, match=f"^{name} has no GTcls; maps are the files in the folder cls$"
    ):
        read_mat(path)
    savemat(path, {"GTcls": {"Segmentation": drawn_ids().astype(float)}})
    with pytest.raises(
        LabelError, match=rf"^{name}: GTcls.Segmentation is no \(height, width\) of bytes$"
    ):
        read_mat(path)
    path.unlink()
    with pytest.raises(LabelError, match=f"^{name} does not exist$"):
        read_mat(path)


def test_what_is_missing_is_named_at_once(root: Path) -> None:
    with pytest.raises(LabelError, match=r"val.txt does not exist$"):
        read(root.parents[1], image_set="val")
    (root / "img").rename(root / "pictures")
    with pytest.raises(LabelError, match=r"img does not exist; check `root`$"):
        read(root.parents[1])


def test_boxes_that_are_asked_for_need_a_folder_of_them() -> None:
    entry = {"format": "sbd", "root": "SBD/dataset", "image_set": "train", "boxes": True}
    with pytest.raises(ValueError, match="SBD has no boxes; say annotations: VOC2012/Annotations"):
        DataDescription(classes="voc", splits={"train": [entry]})


def test_without_scipy_it_is_said_what_to_install(
    root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(extras, "find_spec", lambda _: None)
    with pytest.raises(
        InputError,
        match=r"^a map of SBD needs scipy, which is not installed; run: "
        r"pip install 'blitznet\[sbd\]'$",
    ):
        read(root.parents[1])
