"""Segmentation maps in picture files: class ids, palettes, colours."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from blitznet.classes import IGNORE_INDEX
from blitznet.data.class_table import ClassTable
from blitznet.errors import LabelError


@dataclass(frozen=True)
class IdMapFile:
    """A palette or greyscale PNG whose pixel values are ids.

    Attributes:
        path: of the file.
        names: the source's class names by pixel value, as pairs; "background" is background.
        ignore_values: void.
    """

    path: Path
    names: tuple[tuple[int, str], ...]
    ignore_values: tuple[int, ...] = (IGNORE_INDEX,)

    def read(self, size: tuple[int, int], table: ClassTable) -> np.ndarray:
        """See `MapLabel`."""
        map_values = table.map_values(dict(self.names))
        map_values[list(self.ignore_values)] = IGNORE_INDEX
        return require_size(self.path, read_id_map(self.path, map_values), size)


def read_id_map(path: Path, map_values: np.ndarray) -> np.ndarray:
    """A palette or greyscale PNG to (H, W) uint8 class ids.

    Args:
        path: of the file, whose palette indices are ids.
        map_values: (256,) int64 from its ids to the network's, -1 where there is none.

    Raises:
        LabelError: if the file is no map or holds an id that the network does not know.
    """
    mode, ids = read_map_pixels(path)
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


def read_map_pixels(path: Path) -> tuple[str, np.ndarray]:
    """Pillow's mode of a file and its raw values: never converted, never turned upright.

    Raises:
        LabelError: if the file cannot be read.
    """
    try:
        with Image.open(path) as picture:
            return picture.mode, np.asarray(picture)
    except (OSError, SyntaxError, ValueError) as error:
        raise LabelError(f"{path} cannot be read as a picture: {error}") from None


def require_size(path: Path, seg_map: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The map itself, if it has its picture's width and height.

    Raises:
        LabelError: if it has not.
    """
    height, width = seg_map.shape
    if (width, height) != size:
        raise LabelError(
            f"{path} is {width}x{height} but its picture is {size[0]}x{size[1]}; "
            "a map needs the size of its picture"
        )
    return seg_map
