"""The splits of section 4.1, images in both VOC2007 and VOC2012, and SBD's maps beside VOC's."""

import os
import re
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from blitznet.classes import VOC_CLASSES
from blitznet.data.description import DataDescription
from blitznet.data.source import LabelSource
from blitznet.data.voc import (
    VocEntry,
    list_ids,
    read_image_set,
    without_excluded,
)
from blitznet.errors import LabelError
from fixtures.sbd_mat import save_mat

CAT, DOG = VOC_CLASSES.index("cat"), VOC_CLASSES.index("dog")
SIZE = (8, 6)

TRAIN_SEG, VAL_SEG = ["2007_000032", "2008_000007"], ["2007_000033", "2009_000001"]
SBD_TRAIN, SBD_VAL = ["2008_000007", "2008_000002"], ["2009_000001", "2008_000001"]


def write_list(path: Path, names: list[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{name}\n" for name in names))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """VOC2012 and SBD in the layout of their archives, with all images but without maps."""
    voc, sbd = tmp_path / "VOC2012", tmp_path / "SBD" / "dataset"
    everything = sorted({*TRAIN_SEG, *VAL_SEG, *SBD_TRAIN, *SBD_VAL})
    write_list(voc / "ImageSets" / "Segmentation" / "train.txt", TRAIN_SEG)
    write_list(voc / "ImageSets" / "Segmentation" / "val.txt", VAL_SEG)
    write_list(voc / "ImageSets" / "Main" / "trainval.txt", everything)
    write_list(sbd / "train.txt", SBD_TRAIN)
    write_list(sbd / "val.txt", SBD_VAL)
    write_list(tmp_path / "VOC2007" / "ImageSets" / "Main" / "test.txt", ["000032", "000999"])
    for name in ("JPEGImages", "SegmentationClass"):
        (voc / name).mkdir()
    for name in everything:
        Image.new("RGB", SIZE).save(voc / "JPEGImages" / f"{name}.jpg")
    for name in (*TRAIN_SEG, *VAL_SEG):
        Image.new("L", SIZE, CAT).save(voc / "SegmentationClass" / f"{name}.png")
    for name in (*SBD_TRAIN, *SBD_VAL):
        save_mat(sbd / "cls" / f"{name}.mat", np.full(SIZE[::-1], DOG, np.uint8))
    return tmp_path


def open_voc(folder: Path, **fields: object) -> LabelSource:
    entry = {"format": "voc", "root": "VOC2012", "boxes": False} | fields
    return VocEntry.model_validate(entry).open(folder, VOC_CLASSES)


def ids_of(source: LabelSource) -> list[str]:
    return [source.labels(index).path.stem for index in range(len(source))]


def test_the_split_is_read_by_its_name(folder: Path) -> None:
    source = open_voc(
        folder, image_set="voc12_train_seg_aug", masks="SegmentationClass", sbd="SBD/dataset"
    )
    assert ids_of(source) == ["2007_000032", "2008_000001", "2008_000002", "2008_000007"]
    maps = [source.read(index).seg_map for index in range(4)]
    # VOC's own annotation is taken where there is one, as for 2008_000007.
    assert [np.unique(seg_map).tolist() for seg_map in maps] == [[CAT], [DOG], [DOG], [CAT]]


def test_other_splits_are_lists_of_the_devkit(folder: Path) -> None:
    assert ids_of(open_voc(folder, image_set="voc12_val_seg", masks="SegmentationClass")) == VAL_SEG
    assert list_ids(folder / "VOC2012", "voc12_train_seg") == TRAIN_SEG
    assert list_ids(folder / "VOC2007", "voc07_test") == ["000032", "000999"]


def test_a_split_of_the_other_year_is_refused(folder: Path) -> None:
    with pytest.raises(LabelError, match=r"^voc12_train is a split of VOC2012, not of .*VOC2007$"):
        list_ids(folder / "VOC2007", "voc12_train")


def test_sbd_lends_maps_to_any_image_set(folder: Path) -> None:
    source = open_voc(
        folder, image_set="Main/trainval", masks="SegmentationClass", sbd="SBD/dataset"
    )
    maps = [source.read(index).seg_map for index in range(len(source))]
    shown = {name: int(seg_map[0, 0]) for name, seg_map in zip(ids_of(source), maps, strict=True)}
    assert shown == {
        "2007_000032": CAT,
        "2007_000033": CAT,
        "2008_000001": DOG,
        "2008_000002": DOG,
        "2008_000007": CAT,
        "2009_000001": CAT,
    }


def test_train_seg_aug_without_sbd_is_refused(folder: Path) -> None:
    entry = {"format": "voc", "root": "VOC2012", "image_set": "voc12_train_seg_aug"}
    with pytest.raises(ValueError, match="voc12_train_seg_aug needs sbd: FOLDER"):
        DataDescription(classes="voc", splits={"train": [entry]})
    with pytest.raises(LabelError, match=re.escape("cls does not exist; check `sbd`")):
        open_voc(folder, image_set="Main/trainval", sbd="SBD")


def test_images_that_are_tested_on_under_another_name_can_be_excluded(folder: Path) -> None:
    source = open_voc(
        folder,
        image_set="voc12_train_seg",
        masks="SegmentationClass",
        exclude=["VOC2007/ImageSets/Main/test.txt"],
    )
    assert ids_of(source) == ["2008_000007"]
    with pytest.raises(LabelError, match=r"^`exclude` leaves no image of 2$"):
        open_voc(
            folder,
            image_set="voc12_train_seg",
            masks="SegmentationClass",
            exclude=["VOC2012/ImageSets/Main/trainval.txt"],
        )


def test_an_image_has_two_names(tmp_path: Path) -> None:
    def left(names: list[str], others: list[str]) -> list[str]:
        write_list(tmp_path / "others.txt", others)
        return without_excluded(names, [Path("others.txt")], tmp_path)

    names = ["2007_000032", "2008_000032", "2007_000033"]
    assert left(names, ["000032"]) == ["2008_000032", "2007_000033"]
    assert left(["000032", "000033"], ["2007_000033"]) == ["000032"]
    assert left(names, ["2008_000032"]) == ["2007_000032", "2007_000033"]


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("000012 -1\n000017  1\n000023  0\n", ["000012", "000017", "000023"]),
        ("my cat 1\nmy cat 2\n", ["my cat 1", "my cat 2"]),
        ("nested/a\r\n\r\n  b \n", ["nested/a", "b"]),
        ("photo 1\n", ["photo 1"]),
        ("a.jpg\nb.PNG\n", ["a", "b"]),
        ("a.jpg\nb\n", ["a.jpg", "b"]),
        ('a\n"two words"\nthree more words\n', ["a", "two words", "three more words"]),  # CVAT's
    ],
)
def test_a_list_may_have_a_second_column_extensions_or_names_with_blanks(
    tmp_path: Path, text: str, ids: list[str]
) -> None:
    path = tmp_path / "list.txt"
    path.write_bytes(text.encode())
    assert read_image_set(path) == ids


@pytest.mark.data
def test_the_real_lists_share_no_image_between_training_and_testing() -> None:
    root = Path(os.environ["BLITZNET_DATA"])
    train = list_ids(root / "VOC2012", "voc12_train_seg")
    assert set(train) <= set(list_ids(root / "VOC2012", "Segmentation/train_aug"))
    for year, training in (("VOC2012", "Segmentation/train_aug"), ("VOC2007", "Main/trainval")):
        ids = list_ids(root / year, training)
        for other, testing in (("VOC2012", "Segmentation/val"), ("VOC2007", "Main/test")):
            tested = [Path(other, "ImageSets", f"{testing}.txt")]
            assert without_excluded(ids, tested, root) == ids


@pytest.mark.data
def test_the_real_augmented_list_keeps_to_the_rule() -> None:
    """The other ids must come from SBD: none of val, and all of train."""
    lists = Path(os.environ["BLITZNET_DATA"]) / "VOC2012" / "ImageSets" / "Segmentation"
    train, aug, val = (
        set(read_image_set(lists / f"{name}.txt")) for name in ("train", "train_aug", "val")
    )
    assert train <= aug
    assert not aug & val
