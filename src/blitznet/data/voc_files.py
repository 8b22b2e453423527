"""VOC's own files: lists of images, the splits of the paper's section 4.1, annotations in XML."""

import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from blitznet.data.labels import ObjectLabel
from blitznet.errors import LabelError
from blitznet.text_files import read_text

# Where corners lie. "from_1": VOC's own, pixels are counted from 1 and the last one is part of the
# box. "from_0": lines between pixels are counted, from 0, as CVAT and Label Studio write them.
Corners = Literal["from_1", "from_0"]

_EDGES = ("xmin", "ymin", "xmax", "ymax")

TRAIN_SEG_AUG = "voc12_train_seg_aug"


@dataclass(frozen=True)
class VocSplit:
    """Which images a split has.

    Attributes:
        root: of which year, as the folder in VOCdevkit is called.
        image_set: its list under ImageSets.
        num_pictures: images in the complete dataset.
        adds_sbd: SBD's images are added, see `train_seg_aug`.
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
        Image ids, sorted.
    """
    return sorted((set(train_seg) | set(sbd)) - set(val_seg))


def twin_key(name: str) -> str:
    """The same for two ids of one image: VOC2012's `2007_<id>` is `<id>` of VOC2007."""
    return name.removeprefix("2007_")


def without_twins(names: Sequence[str], others: Iterable[str]) -> list[str]:
    """Image ids that are not among others, under their own or their twin's id; in their order."""
    keys = {twin_key(name) for name in others}
    return [name for name in names if twin_key(name) not in keys]


def list_ids(root: Path, image_set: str, sbd: Path | None = None) -> list[str]:
    """The image ids of an image set; arguments as of `VocEntry`.

    Raises:
        LabelError: if a list cannot be read, or a split of another year or of SBD is asked for.
    """
    lists = root / "ImageSets"
    split = VOC_SPLITS.get(image_set)
    if split is None:
        return read_image_set(lists / f"{image_set}.txt")
    if root.name != split.root and root.name in {other.root for other in VOC_SPLITS.values()}:
        raise LabelError(f"{image_set} is a split of {split.root}, not of {root}")
    ids = read_image_set(lists / f"{split.image_set}.txt")
    if not split.adds_sbd:
        return ids
    if sbd is None:
        raise LabelError(f"{image_set} needs SBD; say `sbd`")
    extra = [name for part in ("train", "val") for name in read_image_set(sbd / f"{part}.txt")]
    return train_seg_aug(ids, extra, read_image_set(lists / "Segmentation" / "val.txt"))


def read_image_set(path: Path) -> list[str]:
    """The image ids of a list; Main's per-class lists carry a second column, -1 / 0 / 1.

    Raises:
        LabelError: if the list is missing, no text, or empty.
    """
    lines = [line.strip() for line in read_text(path, LabelError).splitlines() if line.strip()]
    lines = [line[1:-1] if line[0] == line[-1] == '"' else line for line in lines]  # as CVAT's
    if not lines:
        raise LabelError(f"{path} lists no image")
    columns = [line.rsplit(maxsplit=1) for line in lines]  # ids of one's own may have blanks
    if all(parts[1:] in (["-1"], ["0"], ["1"]) for parts in columns):
        return [parts[0] for parts in columns]
    return lines


def read_annotation(
    path: Path, corners: Corners = "from_1"
) -> tuple[tuple[ObjectLabel, ...], tuple[int, int] | None]:
    """The objects of one VOC XML file; the parts inside an object are left out.

    Args:
        path: of the file.
        corners: where its boxes have theirs.

    Returns:
        The objects, and the image's width and height if the file states them.

    Raises:
        LabelError: if the file is missing or damaged.
    """
    try:
        root = ET.parse(path).getroot()
    except FileNotFoundError:
        raise LabelError(f"{path} does not exist; every listed image needs an annotation") from None
    except (OSError, ET.ParseError, LookupError, ValueError) as error:  # the last two: its encoding
        raise LabelError(f"{path} cannot be read as XML: {error}") from None
    first = 1 if corners == "from_1" else 0
    objects = tuple(
        _read_object(node, f"{path}, object {number}", first)
        for number, node in enumerate(root.findall("object"), start=1)
    )
    return objects, _read_size(root)


def _read_object(node: ET.Element, where: str, first: int) -> ObjectLabel:
    name = (node.findtext("name") or "").strip()
    difficult = (node.findtext("difficult") or "0").strip() == "1"
    try:
        corners = [float(node.findtext(f"bndbox/{edge}") or "") for edge in _EDGES]
    except ValueError:
        problem = f"bndbox needs the numbers {', '.join(_EDGES)}"
        return ObjectLabel(name, None, where, written="", problem=problem, ignore=difficult)
    box = corners[0] - first, corners[1] - first, corners[2], corners[3]
    return ObjectLabel(name, box, where, written=str(corners), ignore=difficult)


def _read_size(root: ET.Element) -> tuple[int, int] | None:
    try:
        width, height = (int(root.findtext(f"size/{side}") or 0) for side in ("width", "height"))
    except ValueError:
        return None
    return (width, height) if width > 0 and height > 0 else None
