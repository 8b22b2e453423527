"""The Semantic Boundaries Dataset (paper, reference [8]): VOC's classes on 11 355 of its images.

Its maps are MATLAB files, `cls/ID.mat`; it has no boxes, those are VOC2012's.
"""

from pathlib import Path
from typing import Literal

from pydantic import model_validator

from blitznet.data.labels import ClassTable, PictureLabels
from blitznet.data.seg_map import SbdMapFile
from blitznet.data.source import LabelSource, SourceEntry
from blitznet.data.voc import read_annotation, read_image_set, without_twins
from blitznet.errors import LabelError


class SbdEntry(SourceEntry):
    """`format: sbd`.

    Attributes:
        root: the folder `dataset` in it, with `img` and `cls`.
        image_set: `train` or `val`, lists in it.
        annotations: VOC2012's folder of XML files; None = boxes are not labelled.
        exclude: lists of VOC or SBD; their images are left out.
    """

    format: Literal["sbd"] = "sbd"
    root: Path
    image_set: str
    annotations: Path | None = None
    exclude: tuple[Path, ...] = ()

    @model_validator(mode="after")
    def _has_boxes(self) -> "SbdEntry":
        if self.boxes and self.annotations is None and "boxes" in self.model_fields_set:
            raise ValueError("SBD has no boxes; say annotations: VOC2012/Annotations")
        return self

    def open_all(self, folder: Path, table: ClassTable) -> "SbdSource":
        """See `SourceEntry`."""
        return SbdSource(self, folder, table)


class SbdSource(LabelSource):
    """The images of an `SbdEntry`; arguments as of `VocSource`.

    Raises:
        LabelError: if a list cannot be read, or a folder is missing.
    """

    def __init__(self, entry: SbdEntry, folder: Path, table: ClassTable):
        self.root = folder / entry.root
        self.annotations = None
        if entry.boxes and entry.annotations is not None:
            self.annotations = folder / entry.annotations
        ids = read_image_set(self.root / f"{entry.image_set}.txt")
        excluded = [name for path in entry.exclude for name in read_image_set(folder / path)]
        self.ids = without_twins(ids, excluded)
        for path in (self.root / "img", self.root / "cls", self.annotations):
            if path is not None and not path.is_dir():
                raise LabelError(f"{path} does not exist; check `root` and `annotations`")
        self.table = table

    def __len__(self) -> int:
        return len(self.ids)

    def labels(self, index: int) -> PictureLabels:
        """See `LabelSource`."""
        name = self.ids[index]
        picture = self.root / "img" / f"{name}.jpg"
        seg_map = SbdMapFile(self.root / "cls" / f"{name}.mat")
        if self.annotations is None:
            return PictureLabels(picture, None, seg_map)
        objects, size = read_annotation(self.annotations / f"{name}.xml")
        return PictureLabels(picture, objects, seg_map, size)
