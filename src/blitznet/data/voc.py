"""PASCAL VOC 2007 and 2012 in their official layout, and what labelling programs call VOC."""

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import model_validator

from blitznet.classes import VOC_CLASSES
from blitznet.data.box_map import BoxMap
from blitznet.data.class_table import ClassTable
from blitznet.data.entry import SourceEntry
from blitznet.data.labels import MapLabel, ObjectLabel, PictureLabels
from blitznet.data.map_codes import (
    ColourNames,
    MapCodes,
    ValueNames,
    read_colour_codes,
    read_value_codes,
    value_codes,
)
from blitznet.data.picture_files import files_by_key, find_pictures
from blitznet.data.sbd_map import SbdMapFile
from blitznet.data.source import LabelSource
from blitznet.data.voc_splits import TRAIN_SEG_AUG, VOC_SPLITS, train_seg_aug, without_twins
from blitznet.errors import LabelError
from blitznet.image import PICTURE_SUFFIXES

FROM_BOXES = "from_boxes"  # instead of a folder of maps

# Where corners lie. "from_1": VOC's own, pixels are counted from 1 and the last one is part of the
# box. "from_0": lines between pixels are counted, from 0, as CVAT and Label Studio write them.
Corners = Literal["from_1", "from_0"]

_EDGES = ("xmin", "ymin", "xmax", "ymax")
_MAP_CODES = value_codes(dict(enumerate(VOC_CLASSES)))
_PICTURE_FOLDERS = ("JPEGImages", "images")  # the second one is Label Studio's
_ENDINGS = (".jpg", *sorted(PICTURE_SUFFIXES), *sorted(s.upper() for s in PICTURE_SUFFIXES))


class VocSource(LabelSource):
    """Pictures with an XML file each, in VOC's folders or side by side.

    Args:
        root: as VOCdevkit/VOC2012. Pictures are in its JPEGImages or images, else in itself; XML
            files in its Annotations, else beside the pictures.
        image_set: a list under ImageSets without its ending, as "Main/trainval", or one of
            `VOC_SPLITS`; None = every picture there is.
        table: from VOC's names to the network's classes.
        boxes: whether XML files are read.
        masks: the folder with segmentation maps, as "SegmentationClassAug"; None = not read. A
            picture of the image set without a file there has no map. "from_boxes" = see `BoxMap`.
        codes: what the values of the maps stand for; None = VOC's classes.
        sbd: the folder `dataset` of SBD, whose map a picture has if it has no other.
        exclude: ids of pictures to leave out, see `without_twins`.
        corners: of the boxes in XML files.

    Raises:
        LabelError: where the pictures cannot be listed, or a folder is missing.
    """

    def __init__(
        self,
        root: Path,
        image_set: str | None,
        table: ClassTable,
        boxes: bool,
        masks: str | None,
        codes: MapCodes | None = None,
        sbd: Path | None = None,
        exclude: Sequence[str] = (),
        corners: Corners = "from_1",
    ):
        self.pictures = _picture_folder(root)
        has_folder = (root / "Annotations").is_dir()
        self.annotations = root / "Annotations" if has_folder else self.pictures
        if image_set is not None:
            ids = list_ids(root, image_set, sbd)
        else:
            ids = _ids_in_folder(self.pictures, root / masks if masks is not None else None)
        self.ids = without_twins(ids, exclude)
        if not self.ids:
            raise LabelError(f"{root}: `exclude` leaves no picture")
        for option, path in (
            ("masks", root / masks if masks not in (None, FROM_BOXES) else None),
            ("sbd", sbd / "cls" if sbd is not None else None),
        ):
            if path is not None and not path.is_dir():
                raise LabelError(f"{path} does not exist; check `{option}`")
        self.root = root
        self.table = table
        self.has_boxes = boxes
        self.masks = masks
        self.codes = codes or _MAP_CODES
        self.sbd = sbd
        self.corners: Corners = corners

    def __len__(self) -> int:
        return len(self.ids)

    def labels(self, index: int) -> PictureLabels:
        """See `LabelSource`."""
        name = self.ids[index]
        picture = _find_picture(self.pictures, name)
        seg_map = self._find_map(name)
        if not self.has_boxes:
            return PictureLabels(picture, None, seg_map)
        objects, size = read_annotation(self.annotations / f"{name}.xml", self.corners)
        labels = PictureLabels(picture, objects, seg_map, size)
        return replace(labels, seg_map=BoxMap(labels)) if self.masks == FROM_BOXES else labels

    def picture_id(self, index: int) -> str:
        """See `LabelSource`."""
        return self.ids[index]

    def _find_map(self, name: str) -> MapLabel | None:
        if self.masks not in (None, FROM_BOXES):
            path = self.root / self.masks / f"{name}.png"
            if path.is_file():
                return self.codes.open(path)
        if self.sbd is not None:
            path = self.sbd / "cls" / f"{name}.mat"
            if path.is_file():
                return SbdMapFile(path)
        return None


class VocEntry(SourceEntry):
    """`format: voc`; see `VocSource`.

    Attributes:
        exclude: lists of picture ids; their pictures are left out, and so are those that are the
            same under VOC2007's or VOC2012's id.
        mask_values: class names by value of the maps; see `read_value_codes`.
        mask_colours: by colour, instead; see `read_colour_codes`.
    """

    format: Literal["voc"]
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

    def open_all(self, folder: Path, table: ClassTable) -> VocSource:
        """See `SourceEntry`."""
        codes = None
        if self.mask_values is not None:
            codes = read_value_codes(self.mask_values, folder)
        elif self.mask_colours is not None:
            codes = read_colour_codes(self.mask_colours, folder)
        return VocSource(
            folder / self.root,
            self.image_set,
            table,
            self.boxes,
            self.masks,
            codes,
            folder / self.sbd if self.sbd is not None else None,
            [name for path in self.exclude for name in read_image_set(folder / path)],
            self.corners,
        )


def list_ids(root: Path, image_set: str, sbd: Path | None = None) -> list[str]:
    """The picture ids of an image set; arguments as of `VocSource`.

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


def _picture_folder(root: Path) -> Path:
    folders = [root / name for name in _PICTURE_FOLDERS if (root / name).is_dir()]
    return folders[0] if folders else root


def _ids_in_folder(folder: Path, masks: Path | None) -> list[str]:
    pictures = [path for path in find_pictures(folder, "root") if masks not in path.parents]
    if not pictures:
        raise LabelError(f"{folder} holds no picture besides maps; check `root`")
    return list(files_by_key(pictures, folder))


def _find_picture(folder: Path, name: str) -> Path:
    """The picture of an id: VOC's are JPEG files, those of labelling programs may be others."""
    paths = (folder / f"{name}{ending}" for ending in _ENDINGS)
    return next((path for path in paths if path.is_file()), folder / f"{name}.jpg")


def read_image_set(path: Path) -> list[str]:
    """The picture ids of a list; Main's per-class lists carry a second column, -1 / 0 / 1.

    Raises:
        LabelError: if the list is missing, no text, or empty.
    """
    if not path.is_file():
        raise LabelError(f"{path} does not exist; check `root` and `image_set`")
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise LabelError(f"{path} cannot be read as text: {error}") from None
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    lines = [line[1:-1] if line[0] == line[-1] == '"' else line for line in lines]  # as CVAT's
    if not lines:
        raise LabelError(f"{path} lists no picture")
    columns = [line.rsplit(maxsplit=1) for line in lines]  # ids of one's own may have blanks
    if all(parts[1:] in (["-1"], ["0"], ["1"]) for parts in columns):
        return [parts[0] for parts in columns]
    return lines


def read_annotation(
    path: Path, corners: Corners = "from_1"
) -> tuple[tuple[ObjectLabel, ...], tuple[int, int] | None]:
    """The objects of one VOC XML file; the parts inside an object are passed over.

    Args:
        path: of the file.
        corners: where its boxes have theirs.

    Returns:
        The objects, and the picture's width and height if the file states them.

    Raises:
        LabelError: if the file is missing or damaged.
    """
    try:
        root = ET.parse(path).getroot()
    except FileNotFoundError:
        raise LabelError(
            f"{path} does not exist; every listed picture needs an annotation"
        ) from None
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
