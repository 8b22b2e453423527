"""PASCAL VOC 2007 and 2012 in their official layout, and what labelling programs call VOC."""

from dataclasses import replace
from pathlib import Path
from typing import Literal

from pydantic import model_validator

from blitznet.data.box_map import FROM_BOXES, BoxMap
from blitznet.data.class_table import ClassTable
from blitznet.data.labels import MapLabel, PictureLabels
from blitznet.data.map_codes import VOC_CODES, ColourNames, ValueNames, parse_codes
from blitznet.data.picture_files import files_by_key, find_pictures
from blitznet.data.sbd_map import SbdMapFile
from blitznet.data.seg_map import MapFile
from blitznet.data.source import LabelSource, SourceEntry
from blitznet.data.voc_files import (
    TRAIN_SEG_AUG,
    Corners,
    list_ids,
    read_annotation,
    read_image_set,
    without_twins,
)
from blitznet.errors import LabelError
from blitznet.image import PICTURE_SUFFIXES

_PICTURE_FOLDERS = ("JPEGImages", "images")  # the second one is Label Studio's
_ENDINGS = (".jpg", *sorted(PICTURE_SUFFIXES), *sorted(s.upper() for s in PICTURE_SUFFIXES))


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
