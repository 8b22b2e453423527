"""The Semantic Boundaries Dataset, with .mat files written by scipy."""

import re
import struct
import zlib
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy.io import savemat

from blitznet.classes import VOC_CLASSES
from blitznet.data.description import DataDescription
from blitznet.data.labels import ClassTable
from blitznet.data.mat_file import read_mat
from blitznet.data.seg_map import MapFile
from blitznet.data.voc import SbdEntry
from blitznet.errors import LabelError
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
    """The folder `dataset` with two images, and VOC2012's boxes for the first one."""
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
    seg_map = MapFile(path)(SIZE, ClassTable(("background", "dog", "cat")))
    expected = np.zeros_like(drawn_ids())
    expected[drawn_ids() == CAT] = 2
    expected[drawn_ids() == DOG] = 1
    assert seg_map.tolist() == expected.tolist()
    with pytest.raises(
        LabelError,
        match=rf"^{re.escape(str(path))}: 25 pixels have values .+ of the network: {DOG} \(dog\)$",
    ):
        MapFile(path)(SIZE, ClassTable(("background", "cat")))


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
        LabelError, match=rf"^{name}: GTcls.Segmentation is not a \(height, width\) array of bytes$"
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


def element(kind: int, content: bytes) -> bytes:
    return struct.pack("<II", kind, len(content)) + content + bytes(-len(content) % 8)


def matrix(kind: int, size: tuple[int, ...], content: bytes, name: bytes = b"") -> bytes:
    flags = element(6, struct.pack("<II", kind, 0))
    dimensions = element(5, struct.pack(f"<{len(size)}i", *size))
    return element(14, flags + dimensions + element(1, name) + content)


def gtcls(segmentation: bytes) -> bytes:
    names = element(5, struct.pack("<i", 16)) + element(1, b"Segmentation".ljust(16, b"\0"))
    return matrix(2, (1, 1), names + segmentation, b"GTcls")


def deep_cells() -> bytes:
    content = matrix(9, (1, 1), element(2, b"\0"))
    for _ in range(5000):
        content = matrix(1, (1, 1), content)
    return content


@pytest.mark.parametrize(
    "content",
    [
        gtcls(matrix(9, (1 << 30, 1 << 30), element(2, b"\0"))),
        gtcls(matrix(9, (-1, -1), element(2, b"\0"))),
        gtcls(matrix(9, (9000, 9000), element(2, bytes(81_000_000)))),
        gtcls(deep_cells()),
        matrix(1, (1 << 30, 1), b"", b"GTcls"),
        b"",
    ],
    ids=["huge", "negative", "more than 16 MB", "deep", "many cells", "empty"],
)
def test_a_hostile_file_takes_neither_the_stack_nor_the_memory(
    tmp_path: Path, content: bytes
) -> None:
    packed = zlib.compress(content)
    header = b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM"
    path = tmp_path / "a.mat"
    path.write_bytes(header + struct.pack("<II", 15, len(packed)) + packed)
    with pytest.raises(LabelError, match=f"^{re.escape(str(path))}"):
        read_mat(path)


def test_a_file_need_not_be_compressed(tmp_path: Path) -> None:
    path = tmp_path / "a.mat"
    ids = drawn_ids()
    content = gtcls(matrix(9, ids.shape, element(2, ids.tobytes("F"))))
    path.write_bytes(b"MATLAB 5.0 MAT-file".ljust(124) + b"\0\1IM" + content)
    assert read_mat(path).tolist() == ids.tolist()
