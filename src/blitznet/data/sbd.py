"""The Semantic Boundaries Dataset (paper, reference [8]): VOC's classes on 11 355 of its pictures.

Its maps are MATLAB files, `cls/ID.mat`; it has no boxes, those are VOC2012's.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import model_validator

from blitznet.data.class_table import ClassTable
from blitznet.data.entry import SourceEntry
from blitznet.data.labels import PictureLabels
from blitznet.data.sbd_map import SbdMapFile
from blitznet.data.source import LabelSource
from blitznet.data.voc import read_annotation, read_image_set
from blitznet.data.voc_splits import without_twins
from blitznet.errors import LabelError


class SbdSource(LabelSource):
    """Some pictures of SBD.

    Args:
        root: the folder `dataset` in it, with `img` and `cls`.
        image_set: `train` or `val`, lists in it.
        table: from VOC's names to the network's classes.
        annotations: VOC2012's folder of boxes; None = boxes are not labelled.
        exclude: ids of pictures to leave out, see `without_twins`.

    Raises:
        LabelError: where the list cannot be read, or a folder is missing.
    """

    def __init__(
        self,
        root: Path,
        image_set: str,
        table: ClassTable,
        annotations: Path | None = None,
        exclude: Sequence[str] = (),
    ):
        ids = read_image_set(root / f"{image_set}.txt")
        self.ids = without_twins(ids, exclude)
        for folder in (root / "img", root / "cls", annotations):
            if folder is not None and not folder.is_dir():
                raise LabelError(f"{folder} does not exist; check `root` and `annotations`")
        self.root = root
        self.annotations = annotations
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


class SbdEntry(SourceEntry):
    """`format: sbd`; see `SbdSource`. Without `annotations` its boxes are not labelled.

    Attributes:
        exclude: lists of VOC or SBD; their pictures are left out.
    """

    format: Literal["sbd"]
    root: Path
    image_set: str
    annotations: Path | None = None
    exclude: tuple[Path, ...] = ()

    @model_validator(mode="after")
    def _has_boxes(self) -> "SbdEntry":
        if self.boxes and self.annotations is None and "boxes" in self.model_fields_set:
            raise ValueError("SBD has no boxes; say annotations: VOC2012/Annotations")
        return self

    def open_all(self, folder: Path, table: ClassTable) -> SbdSource:
        """See `SourceEntry`."""
        exclude = [name for path in self.exclude for name in read_image_set(folder / path)]
        annotations = folder / self.annotations if self.boxes and self.annotations else None
        return SbdSource(folder / self.root, self.image_set, table, annotations, exclude)
