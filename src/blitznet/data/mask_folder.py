"""Folders of pictures with a segmentation map each: values or colours are classes."""

from collections.abc import Sequence
from pathlib import Path
from typing import Literal

from pydantic import model_validator

from blitznet.data.class_table import ClassTable
from blitznet.data.entry import SourceEntry
from blitznet.data.labels import PictureLabels
from blitznet.data.map_codes import (
    ColourNames,
    MapCodes,
    ValueNames,
    read_colour_codes,
    read_value_codes,
)
from blitznet.data.picture_files import files_by_key, find_maps, find_pictures
from blitznet.data.source import LabelSource
from blitznet.errors import LabelError


class MaskFolderSource(LabelSource):
    """Pictures and maps that share a name.

    Args:
        images: folder of pictures; those in folders inside count, too.
        masks: folder of maps, laid out as `images`; a picture without a file there has no map.
        codes: what the maps' values or colours stand for.
        table: from the source's names to the network's classes.
        suffix: that maps are called more than their pictures, as "_mask"; then both may lie in one
            folder.

    Raises:
        LabelError: if a folder is missing or empty, two pictures or two maps differ in their ending
            only, or no picture has a map.
    """

    def __init__(
        self, images: Path, masks: Path, codes: MapCodes, table: ClassTable, suffix: str = ""
    ):
        pictures = find_pictures(images, "images")
        if images.resolve() == masks.resolve():
            if not suffix:
                raise LabelError(
                    f"{images}: pictures and maps are in one folder; say how the names of maps "
                    "end, as suffix: _mask"
                )
            pictures = [path for path in pictures if not path.stem.endswith(suffix)]
        by_key = files_by_key(pictures, images)
        if not by_key:
            raise LabelError(f"{images} holds no picture besides those that end with {suffix}")
        self.pictures: Sequence[Path] = list(by_key.values())
        maps = find_maps(masks, by_key, suffix)
        self.maps: Sequence[Path | None] = [maps.get(key) for key in by_key]
        self.codes = codes
        self.table = table

    def __len__(self) -> int:
        return len(self.pictures)

    def labels(self, index: int) -> PictureLabels:
        """See `LabelSource`."""
        path = self.maps[index]
        seg_map = self.codes.open(path) if path is not None else None
        return PictureLabels(self.pictures[index], None, seg_map)


class MaskFolderEntry(SourceEntry):
    """`format: masks`; see `MaskFolderSource`, `read_value_codes` and `read_colour_codes`.

    Attributes:
        images: folder of pictures.
        masks: folder of maps.
        values: class names by pixel value, where pixel values are classes.
        colours: class names by colour, where colours are.
        ignore: values or colours that are void; None = 255, or VOC's void with `colours: voc`.
        suffix: of the maps' names.
    """

    format: Literal["masks"]
    images: Path
    masks: Path
    values: ValueNames | None = None
    colours: ColourNames | None = None
    ignore: tuple[int | str, ...] | None = None
    suffix: str = ""
    boxes: Literal[False] = False

    @model_validator(mode="after")
    def _has_one_code(self) -> "MaskFolderEntry":
        if (self.values is None) == (self.colours is None):
            raise ValueError("a folder of maps needs values: or colours:, and not both")
        return self

    def open_all(self, folder: Path, table: ClassTable) -> MaskFolderSource:
        """See `SourceEntry`."""
        if self.values is not None:
            codes = read_value_codes(self.values, folder, self.ignore)
        else:
            assert self.colours is not None
            codes = read_colour_codes(self.colours, folder, self.ignore)
        return MaskFolderSource(
            folder / self.images, folder / self.masks, codes, table, self.suffix
        )
