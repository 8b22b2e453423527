"""PASCAL VOC 2007 and 2012 in their official layout, VOC exports of labelling tools, and SBD.

SBD is the Semantic Boundaries Dataset (paper, reference [8]): VOC's classes on 11 355 of its
images. Its maps are MATLAB files, `cls/ID.mat`; boxes come from VOC2012.
"""

import re
import xml.etree.ElementTree as ET
from collections.abc import Iterable, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from pydantic import model_validator

from blitznet.data.image_files import files_by_key, find_images, read_list, require_folder
from blitznet.data.labels import MAX_OBJECTS, ObjectLabel, read_flag
from blitznet.data.seg_map import VOC, VOC_CODES
from blitznet.data.source import (
    CodedEntry,
    ImageFiles,
    ObjectsAndSize,
    ReadLabels,
    SourceEntry,
    read_files,
)
from blitznet.errors import LabelError, cut
from blitznet.files.regular_file import MEGABYTE, read_regular
from blitznet.image import IMAGE_SUFFIXES

_IMAGE_FOLDERS = ("JPEGImages", "images")  # the second one is Label Studio's
# VOC's images are JPEG files; labelling tools use other formats, too.
_ENDINGS = (".jpg", *sorted(IMAGE_SUFFIXES), *sorted(s.upper() for s in IMAGE_SUFFIXES))

# Coordinates of corners. "from_1": VOC's own, pixel indices from 1, the last pixel included.
# "from_0": continuous, from 0, as CVAT and Label Studio write them.
Corners = Literal["from_1", "from_0"]

# A line of a per-class list: the number takes two characters. Custom ids may contain blanks.
_OF_CLASS_LIST = re.compile(r"(.*\S) (-1| 0| 1)")

_MAX_XML = 16 * MEGABYTE

_EDGES = ("xmin", "ymin", "xmax", "ymax")

TRAIN_SEG_AUG = "voc12_train_seg_aug"

# Section 4.1: the year's folder in VOCdevkit, a list under ImageSets, and its number of images.
VOC_SPLITS = {
    "voc07_trainval": ("VOC2007", "Main/trainval"),  # 5 011
    "voc07_test": ("VOC2007", "Main/test"),  # 4 952
    "voc12_train": ("VOC2012", "Main/train"),  # 5 717
    "voc12_val": ("VOC2012", "Main/val"),  # 5 823
    "voc12_trainval": ("VOC2012", "Main/trainval"),  # 11 540
    "voc12_train_seg": ("VOC2012", "Segmentation/train"),  # 1 464
    "voc12_val_seg": ("VOC2012", "Segmentation/val"),  # 1 449
    TRAIN_SEG_AUG: ("VOC2012", "Segmentation/train"),  # 10 582, see `list_ids`
}


class VocEntry(CodedEntry):
    """`format: voc`: images with one XML file each, in VOC's folders or side by side.

    Attributes:
        root: folder such as VOCdevkit/VOC2012. Images are in its subfolder JPEGImages or images, or
            in `root` itself; XML files are in Annotations, or beside the images.
        image_set: a list under ImageSets without extension, such as "Main/trainval", or one of
            `VOC_SPLITS`; None = all images.
        sbd: SBD's folder `dataset`, for images without another map.
        exclude: lists of image ids to exclude, under either of the ids that an image has in VOC2007
            and VOC2012.
        corners: coordinates of the boxes in XML files, see `Corners`.
    """

    format: Literal["voc"] = "voc"
    root: Path
    image_set: str | None = None
    masks: Literal["from_boxes"] | Path | None = None
    sbd: Path | None = None
    exclude: tuple[Path, ...] = ()
    corners: Corners = "from_1"

    @model_validator(mode="after")
    def _has_sbd(self) -> "VocEntry":
        if self.sbd is None and self.image_set == TRAIN_SEG_AUG:
            raise ValueError(f"{TRAIN_SEG_AUG} needs sbd: FOLDER")
        return self

    @property
    def is_labelled(self) -> bool:
        """See `SourceEntry`."""
        return super().is_labelled or self.sbd is not None

    def find_images(self, folder: Path) -> tuple[list[ImageFiles], ReadLabels]:
        """See `SourceEntry`; SBD's map is read if there is no other."""
        root = folder / self.root
        images = next((root / name for name in _IMAGE_FOLDERS if (root / name).is_dir()), root)
        xml_files = root / "Annotations" if (root / "Annotations").is_dir() else images
        masks = root / self.masks if isinstance(self.masks, Path) else None
        sbd = folder / self.sbd if self.sbd is not None else None
        maps: dict[Path, str] = {}  # folders of maps and the ending of their files
        if masks is not None:
            require_folder(masks, "masks")
            maps[masks] = ".png"
        if sbd is not None:
            require_folder(sbd / "cls", "sbd")
            maps[sbd / "cls"] = ".mat"
        if self.image_set is not None:
            ids = list_ids(root, self.image_set, sbd)
        else:
            found = [path for path in find_images(images, "root") if masks not in path.parents]
            if not found:
                raise LabelError(f"{images} holds no image besides maps; check `root`")
            ids = list(files_by_key(found, images))
        files = [
            ImageFiles(
                _first_there(images / f"{name}{ending}" for ending in _ENDINGS)
                or images / f"{name}.jpg",
                xml_files / f"{name}.xml",
                _first_there(place / f"{name}{ending}" for place, ending in maps.items()),
                name,
            )
            for name in without_excluded(ids, self.exclude, folder)
        ]
        has_xml = self.boxes or self.masks == "from_boxes"
        read = partial(read_annotation, corners=self.corners) if has_xml else None
        return files, partial(read_files, read, self.codes(folder, VOC))


class SbdEntry(SourceEntry):
    """`format: sbd`.

    Attributes:
        root: SBD's folder `dataset`, with `img` and `cls`.
        image_set: `train` or `val`, a list in `root`.
        annotations: VOC2012's folder of XML files; None = boxes are not labelled.
        exclude: lists of VOC or SBD whose images are excluded.
    """

    format: Literal["sbd"] = "sbd"
    root: Path
    image_set: str
    annotations: Path | None = None
    exclude: tuple[Path, ...] = ()
    masks: None = None

    @property
    def is_labelled(self) -> bool:
        """See `SourceEntry`."""
        return True

    @model_validator(mode="after")
    def _has_boxes(self) -> "SbdEntry":
        if self.boxes and self.annotations is None and "boxes" in self.model_fields_set:
            raise ValueError("SBD has no boxes; say annotations: VOC2012/Annotations")
        return self

    def find_images(self, folder: Path) -> tuple[list[ImageFiles], ReadLabels]:
        """See `SourceEntry`."""
        root = folder / self.root
        ids = read_image_set(root / f"{self.image_set}.txt")
        for place in (root / "img", root / "cls"):
            require_folder(place, "root")
        has_boxes = self.boxes and self.annotations is not None
        xml_files = folder / (self.annotations or "")
        if has_boxes:
            require_folder(xml_files, "annotations")
        found = [
            ImageFiles(
                root / "img" / f"{name}.jpg",
                xml_files / f"{name}.xml",
                root / "cls" / f"{name}.mat",
            )
            for name in without_excluded(ids, self.exclude, folder)
        ]
        return found, partial(read_files, read_annotation if has_boxes else None, VOC_CODES)


def _first_there(paths: Iterable[Path]) -> Path | None:
    return next((path for path in paths if path.is_file()), None)


def without_excluded(ids: Sequence[str], lists: Iterable[Path], folder: Path) -> list[str]:
    """The image ids that are in none of the lists, in their original order.

    VOC2012's `2007_<id>` is the same image as VOC2007's `<id>`, so either id excludes both. Paths
    of lists are relative to `folder`.

    Raises:
        LabelError: if a list cannot be read, or no image is left.
    """
    excluded = {
        name.removeprefix("2007_") for path in lists for name in read_image_set(folder / path)
    }
    left = [name for name in ids if name.removeprefix("2007_") not in excluded]
    if not left:
        raise LabelError(f"`exclude` leaves no image of {len(ids)}")
    return left


def list_ids(root: Path, image_set: str, sbd: Path | None = None) -> list[str]:
    """The image ids of an image set; for the arguments, see `VocEntry`.

    VOC12-train-seg-aug is VOC12-train-seg and all of SBD ("the extra annotations provided by [8]")
    without VOC12-val-seg, sorted.

    Raises:
        LabelError: if a list cannot be read, or the split is of another year.
    """
    lists = root / "ImageSets"
    if image_set not in VOC_SPLITS:
        return read_image_set(lists / f"{image_set}.txt")
    year, name = VOC_SPLITS[image_set]
    if root.name != year and root.name in {other for other, _ in VOC_SPLITS.values()}:
        raise LabelError(f"{image_set} is a split of {year}, not of {root}")
    ids = read_image_set(lists / f"{name}.txt")
    if image_set != TRAIN_SEG_AUG:
        return ids
    assert sbd is not None  # `VocEntry`
    extra = [name for part in ("train", "val") for name in read_image_set(sbd / f"{part}.txt")]
    return sorted({*ids, *extra} - {*read_image_set(lists / "Segmentation" / "val.txt")})


def read_image_set(path: Path) -> list[str]:
    """Read the image ids of a list; Main's per-class lists have a second column, -1 / 0 / 1.

    Also reads quoted names, as CVAT writes, and lists in which all names have an image extension.

    Raises:
        LabelError: see `read_list`.
    """
    lines = [line[1:-1] if line[0] == line[-1] == '"' else line for line in read_list(path)]
    columns = [_OF_CLASS_LIST.fullmatch(line) for line in lines]
    if None not in columns:
        return [match[1] for match in columns if match is not None]
    if all(line.lower().endswith(tuple(IMAGE_SUFFIXES)) for line in lines):
        return [line.rpartition(".")[0] for line in lines]
    return lines


def read_annotation(path: Path, corners: Corners = "from_1") -> ObjectsAndSize:
    """Read the objects of one VOC XML file; the parts inside an object are ignored.

    Returns:
        The objects, and the image's width and height if the file states them.

    Raises:
        LabelError: if the file is missing or damaged, or has too many objects.
    """
    try:
        root = ET.fromstring(read_regular(path, _MAX_XML))
    except FileNotFoundError:
        raise LabelError(f"{path} does not exist; every listed image needs an annotation") from None
    except (OSError, ET.ParseError, LookupError, ValueError) as error:  # last two: bad encoding
        raise LabelError(f"{path} cannot be read as XML: {cut(str(error))}") from None
    for node in root.iter():
        node.tag = node.tag.rpartition("}")[2].lower()  # drop the namespace
    first = 1 if corners == "from_1" else 0
    nodes = root.findall("object")
    if len(nodes) > MAX_OBJECTS:
        raise LabelError(f"{path} has {len(nodes)} objects; an image has at most {MAX_OBJECTS}")
    objects = tuple(
        _read_object(node, f"{path}, object {number}", first)
        for number, node in enumerate(nodes, start=1)
    )
    return objects, _read_size(root)


def _read_object(node: ET.Element, where: str, first: int) -> ObjectLabel:
    name = (node.findtext("name") or "").strip()
    difficult = read_flag(node.findtext("difficult"), f"{where}: difficult")
    if not name:
        return ObjectLabel(None, None, where, "an object needs a class name", difficult)
    if (count := len(node.findall("bndbox"))) > 1:
        return ObjectLabel(name, None, where, f"{count} bndbox; an object has one", difficult)
    try:
        corners = [float(node.findtext(f"bndbox/{edge}") or "") for edge in _EDGES]
    except ValueError:
        problem = f"bndbox needs the numbers {', '.join(_EDGES)}"
        return ObjectLabel(name, None, where, problem, difficult)
    box = corners[0] - first, corners[1] - first, corners[2], corners[3]
    return ObjectLabel(name, box, where, str(corners), difficult)


def _read_size(root: ET.Element) -> tuple[int, int] | None:
    try:
        width, height = (int(root.findtext(f"size/{side}") or 0) for side in ("width", "height"))
    except ValueError:
        return None
    return (width, height) if width > 0 and height > 0 else None
