"""PASCAL VOC 2007 and 2012 in their official layout, and what labelling programs call VOC."""

import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from pydantic import model_validator

from blitznet.data.box_map import FROM_BOXES, BoxMap
from blitznet.data.labels import ClassTable, MapLabel, ObjectLabel, PictureLabels
from blitznet.data.map_codes import ColourNames, ValueNames, parse_codes
from blitznet.data.picture_files import files_by_key, find_pictures
from blitznet.data.seg_map import VOC_CODES, MapFile, SbdMapFile
from blitznet.data.source import LabelSource, SourceEntry
from blitznet.errors import LabelError
from blitznet.image import PICTURE_SUFFIXES
from blitznet.text_files import read_text

_PICTURE_FOLDERS = ("JPEGImages", "images")  # the second one is Label Studio's
_ENDINGS = (".jpg", *sorted(PICTURE_SUFFIXES), *sorted(s.upper() for s in PICTURE_SUFFIXES))

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


class VocEntry(SourceEntry):
    """`format: voc`: images with an XML file each, in VOC's folders or side by side.

    Attributes:
        root: as VOCdevkit/VOC2012. Images are in its JPEGImages or images, else in itself; XML
            files in its Annotations, else beside the images.
        image_set: a list under ImageSets without its ending, as "Main/trainval", or one of
            `VOC_SPLITS`; None = every image there is.
        masks: the folder with segmentation maps, as "SegmentationClassAug"; None = not read. An
            image of the image set without a file there has no map. "from_boxes" = see `BoxMap`.
        mask_values: class names by value of the maps, see `parse_codes`; None = VOC's classes.
        mask_colours: by colour, instead.
        sbd: the folder `dataset` of SBD, whose map an image has if it has no other.
        exclude: lists of image ids; their images are left out, and so are those that are the same
            under VOC2007's or VOC2012's id.
        corners: of the boxes in XML files.
    """

    format: Literal["voc"] = "voc"
    root: Path
    image_set: str | None = None
    masks: str | None = None
    mask_values: ValueNames | None = None
    mask_colours: ColourNames | None = None
    sbd: Path | None = None
    exclude: tuple[Path, ...] = ()
    corners: Corners = "from_1"

    @model_validator(mode="after")
    def _fits_together(self) -> "VocEntry":
        if not self.boxes and self.masks == FROM_BOXES:
            raise ValueError("masks: from_boxes needs boxes: true")
        if self.sbd is None and self.image_set == TRAIN_SEG_AUG:
            raise ValueError(f"{TRAIN_SEG_AUG} needs sbd: FOLDER")
        codes = [self.mask_values, self.mask_colours]
        if None not in codes or (self.masks in (None, FROM_BOXES) and codes != [None, None]):
            raise ValueError("mask_values: or mask_colours: goes with masks: FOLDER")
        return self

    @property
    def is_labelled(self) -> bool:
        """See `SourceEntry`."""
        return self.boxes or self.masks is not None or self.sbd is not None

    def open_all(self, folder: Path, table: ClassTable) -> "VocSource":
        """See `SourceEntry`."""
        return VocSource(self, folder, table)


class VocSource(LabelSource):
    """The images of a `VocEntry`.

    Args:
        entry: what to read.
        folder: what its paths are relative to.
        table: from VOC's names to the network's classes.

    Attributes:
        ids: of the images, in their order.

    Raises:
        LabelError: if the images cannot be listed, or a folder is missing.
    """

    def __init__(self, entry: VocEntry, folder: Path, table: ClassTable):
        root = folder / entry.root
        named = entry.masks is not None and entry.masks != FROM_BOXES
        self.masks = root / entry.masks if named and entry.masks else None
        self.sbd = folder / entry.sbd if entry.sbd is not None else None
        folders = [root / name for name in _PICTURE_FOLDERS if (root / name).is_dir()]
        self.pictures = folders[0] if folders else root
        annotations = root / "Annotations"
        self.annotations = annotations if annotations.is_dir() else self.pictures
        if entry.image_set is not None:
            ids = list_ids(root, entry.image_set, self.sbd)
        else:
            ids = _ids_in_folder(self.pictures, self.masks)
        excluded = [name for path in entry.exclude for name in read_image_set(folder / path)]
        self.ids = without_twins(ids, excluded)
        if not self.ids:
            raise LabelError(f"{root}: `exclude` leaves no image")
        maps = self.sbd / "cls" if self.sbd is not None else None
        for option, path in (("masks", self.masks), ("sbd", maps)):
            if path is not None and not path.is_dir():
                raise LabelError(f"{path} does not exist; check `{option}`")
        self.entry = entry
        self.table = table
        self.codes = VOC_CODES
        if entry.mask_values is not None or entry.mask_colours is not None:
            self.codes = parse_codes(entry.mask_values, entry.mask_colours, folder)

    def __len__(self) -> int:
        return len(self.ids)

    def labels(self, index: int) -> PictureLabels:
        """See `LabelSource`."""
        name = self.ids[index]
        picture, seg_map = _find_picture(self.pictures, name), self._find_map(name)
        if not self.entry.boxes:
            return PictureLabels(picture, None, seg_map)
        path = self.annotations / f"{name}.xml"
        objects, size = read_annotation(path, self.entry.corners)
        labels = PictureLabels(picture, objects, seg_map, size)
        return replace(labels, seg_map=BoxMap(labels)) if self.entry.masks == FROM_BOXES else labels

    def picture_id(self, index: int) -> str:
        """See `LabelSource`."""
        return self.ids[index]

    def _find_map(self, name: str) -> MapLabel | None:
        if self.masks is not None and (path := self.masks / f"{name}.png").is_file():
            return MapFile(path, self.codes)
        if self.sbd is not None and (path := self.sbd / "cls" / f"{name}.mat").is_file():
            return SbdMapFile(path)
        return None


def _ids_in_folder(folder: Path, masks: Path | None) -> list[str]:
    pictures = [path for path in find_pictures(folder, "root") if masks not in path.parents]
    if not pictures:
        raise LabelError(f"{folder} holds no image besides maps; check `root`")
    return list(files_by_key(pictures, folder))


def _find_picture(folder: Path, name: str) -> Path:
    """The image of an id: VOC's are JPEG files, those of labelling programs may be others."""
    paths = (folder / f"{name}{ending}" for ending in _ENDINGS)
    return next((path for path in paths if path.is_file()), folder / f"{name}.jpg")


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
