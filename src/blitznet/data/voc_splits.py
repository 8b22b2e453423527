"""The splits of VOC that section 4.1 of the paper names, and which pictures are twins."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

TRAIN_SEG_AUG = "voc12_train_seg_aug"


@dataclass(frozen=True)
class VocSplit:
    """Which pictures a split has.

    Attributes:
        root: of which year, as the folder in VOCdevkit is called.
        image_set: its list under ImageSets.
        num_pictures: in the complete dataset.
        adds_sbd: SBD's pictures are added, see `train_seg_aug`.
    """

    root: str
    image_set: str
    num_pictures: int
    adds_sbd: bool = False


# Section 4.1; SBD are "the extra annotations provided by [8]".
VOC_SPLITS = {
    "voc07_trainval": VocSplit("VOC2007", "Main/trainval", 5011),
    "voc07_test": VocSplit("VOC2007", "Main/test", 4952),
    "voc12_train": VocSplit("VOC2012", "Main/train", 5717),
    "voc12_val": VocSplit("VOC2012", "Main/val", 5823),
    "voc12_trainval": VocSplit("VOC2012", "Main/trainval", 5717 + 5823),
    "voc12_train_seg": VocSplit("VOC2012", "Segmentation/train", 1464),
    "voc12_val_seg": VocSplit("VOC2012", "Segmentation/val", 1449),
    TRAIN_SEG_AUG: VocSplit("VOC2012", "Segmentation/train", 10_582, adds_sbd=True),
}


def train_seg_aug(
    train_seg: Iterable[str], sbd: Iterable[str], val_seg: Iterable[str]
) -> list[str]:
    """VOC12-train-seg-aug: VOC12-train-seg and all of SBD without VOC12-val-seg.

    Args:
        train_seg: VOC2012's Segmentation/train.
        sbd: SBD's train and val together.
        val_seg: VOC2012's Segmentation/val, which keeps to the original annotations for testing.

    Returns:
        Picture ids, sorted.
    """
    return sorted((set(train_seg) | set(sbd)) - set(val_seg))


def twin_key(name: str) -> str:
    """The same for two ids of one picture: VOC2012's `2007_<id>` is `<id>` of VOC2007."""
    return name.removeprefix("2007_")


def without_twins(names: Sequence[str], others: Iterable[str]) -> list[str]:
    """Picture ids that are not among others, under their own or their twin's id; in their order."""
    keys = {twin_key(name) for name in others}
    return [name for name in names if twin_key(name) not in keys]
