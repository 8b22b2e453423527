"""PASCAL VOC 2007 and 2012 in their official layout."""

import xml.etree.ElementTree as ET
from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import model_validator

from blitznet.classes import VOC_CLASSES
from blitznet.data.box_map import BoxMap
from blitznet.data.class_table import ClassTable
from blitznet.data.entry import SourceEntry
from blitznet.data.labels import MapLabel, ObjectLabel, PictureLabels
from blitznet.data.seg_map import IdMapFile
from blitznet.data.source import LabelSource
from blitznet.errors import LabelError

FROM_BOXES = "from_boxes"  # instead of a folder of maps

_EDGES = ("xmin", "ymin", "xmax", "ymax")
_MAP_NAMES = tuple(enumerate(VOC_CLASSES))


class VocSource(LabelSource):
    """The pictures of one image set.

    Args:
        root: as VOCdevkit/VOC2012.
        image_set: a list under ImageSets without its ending, as "Main/trainval".
        table: from VOC's names to the network's classes.
        boxes: whether Annotations are read.
        masks: the folder with segmentation maps, as "SegmentationClassAug"; None = not read. A
            picture of the image set without a file there has no map. "from_boxes" = see `BoxMap`.

    Raises:
        LabelError: where the image set cannot be read.
    """

    def __init__(
        self, root: Path, image_set: str, table: ClassTable, boxes: bool, masks: str | None
    ):
        self.ids = read_image_set(root / "ImageSets" / f"{image_set}.txt")
        if masks not in (None, FROM_BOXES) and not (root / masks).is_dir():
            raise LabelError(f"{root / masks} does not exist; check `masks`")
        self.root = root
        self.table = table
        self.has_boxes = boxes
        self.masks = masks

    def __len__(self) -> int:
        return len(self.ids)

    def labels(self, index: int) -> PictureLabels:
        """See `LabelSource`."""
        name = self.ids[index]
        picture = self.root / "JPEGImages" / f"{name}.jpg"
        seg_map: MapLabel | None = None
        if self.masks not in (None, FROM_BOXES):
            path = self.root / self.masks / f"{name}.png"
            seg_map = IdMapFile(path, _MAP_NAMES) if path.is_file() else None
        if not self.has_boxes:
            return PictureLabels(picture, None, seg_map)
        objects, size = read_annotation(self.root / "Annotations" / f"{name}.xml")
        labels = PictureLabels(picture, objects, seg_map, size)
        return replace(labels, seg_map=BoxMap(labels)) if self.masks == FROM_BOXES else labels


class VocEntry(SourceEntry):
    """`format: voc`; see `VocSource`."""

    format: Literal["voc"]
    root: Path
    image_set: str
    masks: str | None = None

    @model_validator(mode="after")
    def _has_labels(self) -> "VocEntry":
        if not self.boxes and self.masks is None:
            raise ValueError("a source needs boxes: true, masks: FOLDER, or both")
        if not self.boxes and self.masks == FROM_BOXES:
            raise ValueError("masks: from_boxes needs boxes: true")
        return self

    def open_all(self, folder: Path, table: ClassTable) -> VocSource:
        """See `SourceEntry`."""
        return VocSource(folder / self.root, self.image_set, table, self.boxes, self.masks)


def read_image_set(path: Path) -> list[str]:
    """The picture ids of a list; Main's per-class lists carry a second column, -1 / 0 / 1.

    Raises:
        LabelError: if the list is missing, no text, or empty.
    """
    if not path.is_file():
        raise LabelError(f"{path} does not exist; check `root` and `image_set`")
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise LabelError(f"{path} cannot be read as text: {error}") from None
    ids = [line.split()[0] for line in lines if line.strip()]
    if not ids:
        raise LabelError(f"{path} lists no picture")
    return ids


def read_annotation(path: Path) -> tuple[tuple[ObjectLabel, ...], tuple[int, int] | None]:
    """The objects of one VOC XML file; the parts inside an object are passed over.

    Args:
        path: of the file. Its coordinates count pixels from 1 and include the last one.

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
    objects = tuple(
        _read_object(node, f"{path}, object {number}")
        for number, node in enumerate(root.findall("object"), start=1)
    )
    return objects, _read_size(root)


def _read_object(node: ET.Element, where: str) -> ObjectLabel:
    name = (node.findtext("name") or "").strip()
    difficult = (node.findtext("difficult") or "0").strip() == "1"
    try:
        corners = [float(node.findtext(f"bndbox/{edge}") or "") for edge in _EDGES]
    except ValueError:
        problem = f"bndbox needs the numbers {', '.join(_EDGES)}"
        return ObjectLabel(name, None, where, written="", problem=problem, ignore=difficult)
    box = corners[0] - 1, corners[1] - 1, corners[2], corners[3]
    return ObjectLabel(name, box, where, written=str(corners), ignore=difficult)


def _read_size(root: ET.Element) -> tuple[int, int] | None:
    try:
        width, height = (int(root.findtext(f"size/{side}") or 0) for side in ("width", "height"))
    except ValueError:
        return None
    return (width, height) if width > 0 and height > 0 else None
