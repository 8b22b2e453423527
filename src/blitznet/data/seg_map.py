"""Segmentation maps in picture files: class ids, palettes, colours."""

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from blitznet.classes import IGNORE_INDEX
from blitznet.data.class_table import ClassTable
from blitznet.errors import LabelError

# A map with more unknown colours than these is asked whether it has been smoothed.
MANY_COLOURS = 3
NEAR_COLOUR = 16  # of 255 in each channel: JPEG at its usual qualities moves flat colours by less

Colour = tuple[int, int, int]

_COLOUR_MODES = ("P", "PA", "RGB", "RGBA", "L", "LA", "1")
_SMOOTHED = "it looks anti-aliased or saved as JPEG; save maps as PNG and resize them by nearest"


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
        return require_size(self.path, read_id_map(self.path, map_values, dict(self.names)), size)


@dataclass(frozen=True)
class ColourMapFile:
    """A picture whose colours are classes.

    Attributes:
        path: of the file; transparency is passed over, of a palette the colours count.
        names: the source's class names by colour, as pairs; "background" is background.
        ignore_colours: void.
    """

    path: Path
    names: tuple[tuple[Colour, str], ...]
    ignore_colours: tuple[Colour, ...] = ()

    def read(self, size: tuple[int, int], table: ClassTable) -> np.ndarray:
        """See `MapLabel`."""
        names = [name for _, name in self.names]
        ids = table.map_values(dict(enumerate(names)))[: len(names)].tolist()
        colours = dict(zip((colour for colour, _ in self.names), ids, strict=True))
        colours |= dict.fromkeys(self.ignore_colours, IGNORE_INDEX)
        seg_map = read_colour_map(self.path, colours, dict(self.names))
        return require_size(self.path, seg_map, size)


def read_id_map(
    path: Path, map_values: np.ndarray, names: Mapping[int, str] | None = None
) -> np.ndarray:
    """A palette or greyscale PNG to (H, W) uint8 class ids.

    Args:
        path: of the file, whose palette indices are ids. Transparency is passed over; of a picture
            of one bit the set pixels are 1, or 255 if only that stands for something.
        map_values: (256,) int64 from its ids to the network's, -1 where there is none.
        names: what its ids are called, for messages.

    Raises:
        LabelError: if the file is no map or holds an id that the network does not know.
    """
    mode, ids = read_map_pixels(path)
    if mode in ("LA", "PA"):
        ids = ids[..., 0]
    elif mode == "1":
        ids = ids * np.uint8(1 if map_values[1] >= 0 else 255)
    elif mode not in ("P", "L") and not mode.startswith("I"):
        raise LabelError(
            f"{path} has mode {mode}; a map is a palette or greyscale PNG of class ids"
        )
    if ids.dtype == np.uint8:
        seg_map: np.ndarray = map_values[ids]
    else:  # sixteen bits and more
        seg_map = np.where((ids >= 0) & (ids < 256), map_values[ids & 255], -1)
    missing = seg_map < 0
    if missing.any():
        unknown = np.unique(ids[missing]).tolist()
        if len(unknown) > MANY_COLOURS and _is_thin(ids)[missing].mean() > 0.5:
            raise LabelError(
                f"{path} holds {len(unknown)} values that no class of the network stands for, "
                f"as {unknown[0]}: {_SMOOTHED}"
            )
        names = names or {}
        shown = ", ".join(
            f"{value} ({names[value]})" if value in names else str(value) for value in unknown
        )
        raise LabelError(
            f"{path} holds the ids [{shown}], which no class of the network stands for"
        )
    return seg_map.astype(np.uint8)


def read_colour_map(
    path: Path, colours: Mapping[Colour, int], names: Mapping[Colour, str] | None = None
) -> np.ndarray:
    """A coloured picture to (H, W) uint8 class ids.

    Args:
        path: of the file.
        colours: class ids of the network by RGB colour, 255 = void, -1 = the network has none.
        names: what the colours are called, for messages.

    Raises:
        LabelError: if the file is no picture of eight bits, or has a colour that stands for
            nothing; where such colours lie along edges or near to known ones, it says so.
    """
    codes = _colour_codes(_read_map_colours(path))
    known = np.array(sorted((_colour_code(colour), index) for colour, index in colours.items()))
    nearest = np.searchsorted(known[:, 0], codes).clip(max=len(known) - 1)
    seg_map = np.where(known[nearest, 0] == codes, known[nearest, 1], -1)
    missing = seg_map < 0
    if missing.any():
        raise LabelError(f"{path}: {_describe_unknown(codes, missing, colours, names or {})}")
    return seg_map.astype(np.uint8)


def _describe_unknown(
    codes: np.ndarray,
    missing: np.ndarray,
    colours: Mapping[Colour, int],
    names: Mapping[Colour, str],
) -> str:
    """What to say of pixels whose colours stand for nothing; arguments as in `read_colour_map`."""
    unknown, which, counts = np.unique(codes[missing], return_inverse=True, return_counts=True)
    total = f"{counts.sum():,}".replace(",", " ")
    if len(unknown) > MANY_COLOURS:
        rgb = np.array([_rgb(code) for code in unknown.tolist()])
        known = np.array(list(colours))
        is_near = (abs(rgb[:, None] - known).max(axis=2) <= NEAR_COLOUR).any(axis=1)
        if (is_near[which.ravel()] | _is_thin(codes)[missing]).mean() > 0.5:
            return f"{total} pixels have colours that no class has: {_SMOOTHED}"
    most = [_rgb(code) for code in unknown[np.argsort(-counts, kind="stable")].tolist()]
    shown = [
        f"#{bytes(colour).hex()}" + (f" ({names[colour]})" if colour in names else "")
        for colour in most[:MANY_COLOURS]
    ]
    more = f" and {len(most) - MANY_COLOURS} more" if len(most) > MANY_COLOURS else ""
    return (
        f"{total} pixels have colours that no class of the network stands for: "
        f"{', '.join(shown)}{more}"
    )


def _is_thin(values: np.ndarray) -> np.ndarray:
    """(H, W) bool: pixels that lack an equal neighbour across or up and down.

    Smoothing leaves lines and specks between classes; a class that was forgotten fills areas.
    """
    across, down = np.zeros((2, *values.shape), bool)
    equal = values[:, 1:] == values[:, :-1]
    across[:, 1:] |= equal
    across[:, :-1] |= equal
    equal = values[1:] == values[:-1]
    down[1:] |= equal
    down[:-1] |= equal
    is_thin: np.ndarray = ~(across & down)
    return is_thin


def _colour_codes(pixels: np.ndarray) -> np.ndarray:
    """(H, W, 3) uint8 to (H, W) int32, a number a colour."""
    red, green, blue = np.moveaxis(pixels.astype(np.int32), 2, 0)
    codes: np.ndarray = red << 16 | green << 8 | blue
    return codes


def _colour_code(colour: Colour) -> int:
    return colour[0] << 16 | colour[1] << 8 | colour[2]


def _rgb(code: int) -> Colour:
    return code >> 16, code >> 8 & 255, code & 255


def _read_map_colours(path: Path) -> np.ndarray:
    """(H, W, 3) uint8 RGB: never blended with what is transparent, never turned upright."""
    with _opened(path) as picture:
        if picture.mode not in _COLOUR_MODES:
            raise LabelError(f"{path} has mode {picture.mode}; a coloured map is an RGB PNG")
        return np.asarray(picture.convert("RGB"))


def read_map_pixels(path: Path) -> tuple[str, np.ndarray]:
    """Pillow's mode of a file and its raw values: never converted, never turned upright.

    Raises:
        LabelError: if the file cannot be read, or is a JPEG.
    """
    with _opened(path) as picture:
        return picture.mode, np.asarray(picture)


@contextmanager
def _opened(path: Path) -> Iterator[Image.Image]:
    try:
        with Image.open(path) as picture:
            if picture.format in ("JPEG", "MPO"):
                raise LabelError(f"{path} is a JPEG, which changes values; save maps as PNG")
            yield picture
    except LabelError:
        raise
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
