"""The Semantic Boundaries Dataset (paper, reference [8]): VOC's classes on 11 355 of its images.

Its maps are MATLAB files, `cls/ID.mat`; boxes come from VOC2012.
"""

from functools import partial
from pathlib import Path
from typing import Literal

from pydantic import model_validator

from blitznet.data.image_files import require_folder
from blitznet.data.seg_map import VOC_CODES
from blitznet.data.source import ImageFiles, ReadLabels, SourceEntry, read_files
from blitznet.data.voc import read_annotation, read_image_set, without_excluded


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
