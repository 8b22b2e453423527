"""The Semantic Boundaries Dataset (paper, reference [8]): VOC's classes on 11 355 of its images.

Its maps are MATLAB files, `cls/ID.mat`; it has no boxes, those are VOC2012's.
"""

from functools import partial
from pathlib import Path
from typing import Literal

from pydantic import model_validator

from blitznet.data.labels import ImageLabels
from blitznet.data.seg_map import MapFile
from blitznet.data.source import ReadLabels, SourceEntry
from blitznet.data.voc import read_annotation, read_image_set, without_excluded
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

    def find_images(self, folder: Path) -> tuple[list[str], ReadLabels]:
        """See `SourceEntry`."""
        root, annotations = folder / self.root, None
        if self.boxes and self.annotations is not None:
            annotations = folder / self.annotations
        ids = read_image_set(root / f"{self.image_set}.txt")
        for path in (root / "img", root / "cls", annotations):
            if path is not None and not path.is_dir():
                raise LabelError(f"{path} does not exist; check `root` and `annotations`")
        return without_excluded(ids, self.exclude, folder), partial(_read_labels, root, annotations)


def _read_labels(root: Path, annotations: Path | None, name: str) -> ImageLabels:
    image, seg_map = root / "img" / f"{name}.jpg", MapFile(root / "cls" / f"{name}.mat")
    if annotations is None:
        return ImageLabels(image, None, seg_map)
    objects, size = read_annotation(annotations / f"{name}.xml")
    return ImageLabels(image, objects, seg_map, size)
