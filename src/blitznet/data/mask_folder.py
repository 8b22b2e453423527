"""Folders of images with a segmentation map each: values or colours are classes."""

from pathlib import Path
from typing import Literal

from pydantic import model_validator

from blitznet.data.labels import ClassTable, PictureLabels
from blitznet.data.map_codes import ColourNames, ValueNames, parse_codes
from blitznet.data.picture_files import files_by_key, find_maps, find_pictures
from blitznet.data.seg_map import MapFile
from blitznet.data.source import LabelSource, SourceEntry
from blitznet.errors import LabelError


class MaskFolderEntry(SourceEntry):
    """`format: masks`: images and maps that share a name.

    Attributes:
        images: folder of images; those in folders inside count, too.
        masks: folder of maps, laid out as `images`; an image without a file there has no map.
        values: class names by pixel value, where pixel values are classes; see `parse_codes`.
        colours: class names by colour, where colours are.
        ignore: values or colours that are void; None = 255, or VOC's void with `colours: voc`.
        suffix: that maps are called more than their images, as "_mask"; then both may lie in one
            folder.
    """

    format: Literal["masks"] = "masks"
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

    def open_all(self, folder: Path, table: ClassTable) -> "MaskFolderSource":
        """See `SourceEntry`."""
        return MaskFolderSource(self, folder, table)


class MaskFolderSource(LabelSource):
    """The images of a `MaskFolderEntry`; arguments as of `VocSource`.

    Raises:
        LabelError: if a folder is missing or empty, two images or two maps differ in their ending
            only, or no image has a map.
    """

    def __init__(self, entry: MaskFolderEntry, folder: Path, table: ClassTable):
        images, masks, suffix = folder / entry.images, folder / entry.masks, entry.suffix
        self.codes = parse_codes(entry.values, entry.colours, folder, entry.ignore)
        pictures = find_pictures(images, "images")
        if images.resolve() == masks.resolve():
            if not suffix:
                raise LabelError(
                    f"{images}: images and maps are in one folder; say how the names of maps "
                    "end, as suffix: _mask"
                )
            pictures = [path for path in pictures if not path.stem.endswith(suffix)]
        by_key = files_by_key(pictures, images)
        if not by_key:
            raise LabelError(f"{images} holds no image besides those that end with {suffix}")
        maps = find_maps(masks, by_key, suffix)
        self.pictures = [(path, maps.get(key)) for key, path in by_key.items()]
        self.table = table

    def __len__(self) -> int:
        return len(self.pictures)

    def labels(self, index: int) -> PictureLabels:
        """See `LabelSource`."""
        picture, path = self.pictures[index]
        return PictureLabels(picture, None, MapFile(path, self.codes) if path else None)
