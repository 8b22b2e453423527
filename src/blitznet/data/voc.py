"""PASCAL VOC 2007 and 2012 in their official layout."""

import xml.etree.ElementTree as ET
from collections.abc import Sequence
from difflib import get_close_matches
from pathlib import Path

import numpy as np
from PIL import Image

from blitznet.classes import IGNORE_INDEX, VOC_CLASSES
from blitznet.errors import LabelError
from blitznet.picture import read_picture
from blitznet.structures import Sample

_EDGES = ("xmin", "ymin", "xmax", "ymax")


class VocSource:
    """The pictures of one image set.

    Args:
        root: as VOCdevkit/VOC2012.
        image_set: a list under ImageSets without its ending, as "Main/trainval".
        names: class names of the network, background first; VOC's names are looked up in it.
        boxes: whether Annotations are read.
        masks: the folder with segmentation maps, as "SegmentationClassAug"; None = not read. A
            picture of the image set without a file there has no map.

    Raises:
        LabelError: where the image set cannot be read.
    """

    def __init__(
        self, root: Path, image_set: str, names: Sequence[str], boxes: bool, masks: str | None
    ):
        listing = root / "ImageSets" / f"{image_set}.txt"
        if not listing.is_file():
            raise LabelError(f"{listing} does not exist; check `root` and `image_set`")
        try:
            lines = listing.read_text(encoding="utf-8").splitlines()
        except (OSError, UnicodeDecodeError) as error:
            raise LabelError(f"{listing} cannot be read as text: {error}") from None
        # Main's per-class lists carry a second column, -1 / 0 / 1.
        self.ids = [line.split()[0] for line in lines if line.strip()]
        if not self.ids:
            raise LabelError(f"{listing} lists no picture")
        if masks is not None and not (root / masks).is_dir():
            raise LabelError(f"{root / masks} does not exist; check `masks`")
        self.root = root
        self.names = tuple(names)
        self.has_boxes = boxes
        self.masks = masks
        self.map_values = _map_values(self.names)

    def __len__(self) -> int:
        return len(self.ids)

    def read(self, index: int) -> Sample:
        """One picture with its labels.

        Raises:
            PictureError: if the picture cannot be read.
            LabelError: if an annotation or a map cannot be used.
        """
        name = self.ids[index]
        path = self.root / "JPEGImages" / f"{name}.jpg"
        image = np.asarray(read_picture(path))
        boxes = None
        labels, difficult = np.zeros(0, np.int64), np.zeros(0, bool)
        if self.has_boxes:
            annotation = self.root / "Annotations" / f"{name}.xml"
            boxes, labels, difficult = read_annotation(annotation, self.names)
        return Sample(
            image=image,
            boxes=boxes,
            labels=labels,
            difficult=difficult,
            seg_map=self._read_map(name, image.shape[:2]),
            source=str(path),
        )

    def _read_map(self, name: str, shape: tuple[int, ...]) -> np.ndarray | None:
        if self.masks is None:
            return None
        path = self.root / self.masks / f"{name}.png"
        if not path.is_file():
            return None
        seg_map = read_seg_map(path, self.map_values)
        if seg_map.shape != shape:
            raise LabelError(
                f"{path} is {seg_map.shape[1]}x{seg_map.shape[0]} but its picture is "
                f"{shape[1]}x{shape[0]}; a map needs the size of its picture"
            )
        return seg_map


def read_annotation(path: Path, names: Sequence[str]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """The objects of one VOC XML file; the parts inside an object are passed over.

    Args:
        path: of the file. Its coordinates count pixels from 1 and include the last one.
        names: class names, background first.

    Returns:
        (G, 4) float32 xyxy in continuous pixels from 0, (G,) int64 labels, (G,) bool difficult.

    Raises:
        LabelError: if the file is missing or damaged, a class is unknown, or a box has no area or
            is not finite.
    """
    try:
        objects = ET.parse(path).getroot().findall("object")
    except FileNotFoundError:
        raise LabelError(
            f"{path} does not exist; every listed picture needs an annotation"
        ) from None
    except (OSError, ET.ParseError, LookupError, ValueError) as error:  # the last two: its encoding
        raise LabelError(f"{path} cannot be read as XML: {error}") from None
    boxes, labels, difficult = [], [], []
    for number, node in enumerate(objects, start=1):
        where = f"{path}, object {number}"
        label = (node.findtext("name") or "").strip()
        if label not in names[1:]:
            near = get_close_matches(label, names[1:], n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise LabelError(f"{where}: unknown class {label!r}{hint}")
        try:
            corners = [float(node.findtext(f"bndbox/{edge}") or "") for edge in _EDGES]
        except ValueError:
            raise LabelError(f"{where}: bndbox needs the numbers {', '.join(_EDGES)}") from None
        if not np.isfinite(corners).all():
            raise LabelError(f"{where}: box {corners} is not finite")
        x1, y1, x2, y2 = corners[0] - 1, corners[1] - 1, corners[2], corners[3]
        if not (x2 > x1 and y2 > y1):
            raise LabelError(f"{where}: box {corners} has no area")
        boxes.append((x1, y1, x2, y2))
        labels.append(names.index(label))
        difficult.append((node.findtext("difficult") or "0").strip() == "1")
    return (
        np.array(boxes, np.float32).reshape(-1, 4),
        np.array(labels, np.int64),
        np.array(difficult, bool),
    )


def read_seg_map(path: Path, map_values: np.ndarray) -> np.ndarray:
    """A palette PNG to (H, W) uint8 class ids.

    Args:
        path: of the file, whose palette indices are VOC's class ids, 255 = void.
        map_values: (256,) int64 from VOC's ids to the network's, -1 where there is none.

    Raises:
        LabelError: if the file is no map or holds an id that the network does not know.
    """
    try:
        with Image.open(path) as picture:
            mode, ids = picture.mode, np.asarray(picture)
    except (OSError, SyntaxError, ValueError) as error:
        raise LabelError(f"{path} cannot be read as a picture: {error}") from None
    if mode not in ("P", "L"):
        raise LabelError(
            f"{path} has mode {mode}; a map is a palette or greyscale PNG of class ids"
        )
    seg_map: np.ndarray = map_values[ids]
    if (seg_map < 0).any():
        unknown = sorted(set(ids[seg_map < 0].tolist()))
        raise LabelError(
            f"{path} holds the ids {unknown}, which no class of the network stands for"
        )
    return seg_map.astype(np.uint8)


def _map_values(names: Sequence[str]) -> np.ndarray:
    """(256,) int64: VOC's map ids to positions in `names`; void stays void, -1 = unknown."""
    values = np.full(256, -1)
    values[IGNORE_INDEX] = IGNORE_INDEX
    for voc_id, name in enumerate(VOC_CLASSES):
        if name in names:
            values[voc_id] = names.index(name)
    return values
