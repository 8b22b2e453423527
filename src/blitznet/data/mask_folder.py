"""Image folders with a segmentation map per image, whose values or colours are classes."""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Literal

from pydantic import model_validator

from blitznet.data.image_files import file_key, files_by_key, find_images, find_maps, lookalikes
from blitznet.data.seg_map import ColourNames, ValueNames, parse_codes
from blitznet.data.source import ImageFiles, ReadLabels, SourceEntry, read_files
from blitznet.errors import LabelError


class MaskFolderEntry(SourceEntry):
    """`format: masks`: images and maps that share a name.

    Attributes:
        images: folder of images, including its subfolders.
        masks: folder of maps, with the layout of `images`; an image without a file has no map.
        values: class names by pixel value, see `parse_codes`.
        colours: class names by colour, instead of `values`.
        ignore: values or colours that are void; None = 255, or VOC's void with `colours: voc`.
        suffix: what a map's name has after the image's, such as "_mask"; with it, images and maps
            may share a folder.
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
            raise ValueError("a folder of maps needs either values: {0: CLASS, ...} or colours:")
        return self

    @property
    def values_key(self) -> str | None:
        """See `SourceEntry`."""
        return "values" if self.colours is None else None

    def find_images(self, folder: Path) -> tuple[list[ImageFiles], ReadLabels]:
        """See `SourceEntry`; no two images and no two maps may differ only in their extension."""
        images, masks, suffix = folder / self.images, folder / self.masks, self.suffix
        codes = parse_codes(self.values, self.colours, folder, self.ignore)
        files = find_images(images, "images")
        if images.resolve() == masks.resolve():
            if not suffix:
                text = f"{images}: images and maps are in one folder"
                raise LabelError(f"{text}; say how the names of maps end, such as suffix: _mask")
            files = [path for path in files if not path.stem.endswith(suffix)]
        by_key = files_by_key(files, images)
        if not by_key:
            raise LabelError(f"{images} holds no image besides those that end with {suffix}")
        maps = find_maps(masks, by_key, suffix)
        found = [ImageFiles(path, None, maps.get(key)) for key, path in by_key.items()]
        return found, partial(read_files, None, codes)

    def unclaimed_files(
        self, folder: Path, found: Sequence[ImageFiles]
    ) -> Iterator[tuple[Path, Path | None]]:
        """See `SourceEntry`: maps with nearly the name of an image that has no map."""
        images, masks = folder / self.images, folder / self.masks
        wanted = [
            masks / f"{file_key(image.path, images)}{self.suffix}.png"
            for image in found
            if image.seg_map is None
        ]
        claimed = {image.seg_map for image in found}
        others = [path for path in find_images(masks, "masks") if path not in claimed]
        yield from lookalikes(others, wanted)
