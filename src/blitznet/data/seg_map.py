"""Segmentation maps in files: class ids, palettes, colours, and SBD's MATLAB files."""

import zlib
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from blitznet.classes import IGNORE_INDEX, VOC_CLASSES
from blitznet.data.labels import ClassTable
from blitznet.errors import LabelError
from blitznet.extras import require

MAX_VALUE = 255

# A map with more unknown codes than these may have been smoothed.
MANY_CODES = 3
NEAR_COLOUR = 16  # of 255 in each channel: JPEG at its usual qualities moves flat colours by less

_COLOUR_MODES = ("P", "PA", "RGB", "RGBA", "L", "LA", "1")
_SMOOTHED = "it looks anti-aliased or saved as JPEG; save maps as PNG and resize them by nearest"


@dataclass(frozen=True)
class MapCodes:
    """Class names by code; a code is a pixel value, or a colour as 0xRRGGBB.

    Attributes:
        names: the source's class names by code, as pairs; "background" is background, "ignore" is
            void.
        ignore: void codes.
        are_colours: which kind of code they are.
    """

    names: tuple[tuple[int, str], ...]
    ignore: tuple[int, ...] = (IGNORE_INDEX,)
    are_colours: bool = False

    def describe(self, code: int) -> str:
        """For messages, as "7" or "#804080 (road)"."""
        text = f"#{code:06x}" if self.are_colours else str(code)
        name = dict(self.names).get(code)
        return text if name is None else f"{text} ({name})"


VOC_CODES = MapCodes(tuple(enumerate(VOC_CLASSES)))


@dataclass(frozen=True)
class MapFile:
    """A PNG or another lossless file whose pixel values or colours are classes.

    Attributes:
        path: of the file. Transparency is ignored. Of a palette the indices are values, unless the
            codes are colours. Of one bit, the set pixels are 1, or 255 if only that has a name.
        codes: what its values or colours stand for.
    """

    path: Path
    codes: MapCodes

    def read(self, size: tuple[int, int], table: ClassTable) -> np.ndarray:
        """See `MapLabel`."""
        codes, ignore = dict(self.codes.names), dict.fromkeys(self.codes.ignore, IGNORE_INDEX)
        known = dict(zip(codes, table.map_ids(codes.values()), strict=True)) | ignore
        if self.codes.are_colours:
            pixels = read_colours(self.path)
            keys = np.array(sorted(known.items()))
            nearest = np.searchsorted(keys[:, 0], pixels).clip(max=len(keys) - 1)
            seg_map = np.where(keys[nearest, 0] == pixels, keys[nearest, 1], -1)
        else:
            pixels = read_values(self.path, set_pixel=1 if known.get(1, -1) >= 0 else MAX_VALUE)
            ids = np.full(MAX_VALUE + 1, -1, np.int16)
            ids[list(known)] = list(known.values())
            if pixels.dtype == np.uint8:
                seg_map = ids[pixels]
            else:  # sixteen bits and more
                is_byte = (pixels >= 0) & (pixels <= MAX_VALUE)
                seg_map = np.where(is_byte, ids[pixels & MAX_VALUE], -1)
        missing = seg_map < 0
        if missing.any():
            raise LabelError(f"{self.path}: {self._describe_unknown(pixels, missing, list(known))}")
        return require_size(self.path, seg_map.astype(np.uint8), size)

    def _describe_unknown(self, pixels: np.ndarray, missing: np.ndarray, known: list[int]) -> str:
        """What to say of pixels whose values or colours stand for nothing.

        Smoothing leaves thin lines between classes, and colours near to known ones.
        """
        unknown, which, counts = np.unique(pixels[missing], return_inverse=True, return_counts=True)
        kind = "colours" if self.codes.are_colours else "values"
        total = f"{counts.sum():,}".replace(",", " ")
        if len(unknown) > MANY_CODES:
            is_smooth = _is_thin(pixels)[missing]
            if self.codes.are_colours:
                distance = abs(_channels(unknown)[:, None] - _channels(np.array(known)))
                is_near = (distance.max(axis=2) <= NEAR_COLOUR).any(axis=1)
                is_smooth = is_smooth | is_near[which.ravel()]
            if is_smooth.mean() > 0.5:
                return f"{total} pixels have {kind} that no class has: {_SMOOTHED}"
        most = unknown[np.argsort(-counts, kind="stable")].tolist()
        shown = ", ".join(map(self.codes.describe, most[:MANY_CODES]))
        more = f" and {len(most) - MANY_CODES} more" if len(most) > MANY_CODES else ""
        return f"{total} pixels have {kind} that no class of the network stands for: {shown}{more}"


def _is_thin(values: np.ndarray) -> np.ndarray:
    """(H, W) bool: pixels that lack an equal neighbour across or up and down."""
    across, down = np.zeros((2, *values.shape), bool)
    equal = values[:, 1:] == values[:, :-1]
    across[:, 1:] |= equal
    across[:, :-1] |= equal
    equal = values[1:] == values[:-1]
    down[1:] |= equal
    down[:-1] |= equal
    is_thin: np.ndarray = ~(across & down)
    return is_thin


def _channels(colours: np.ndarray) -> np.ndarray:
    """(N,) 0xRRGGBB to (N, 3)."""
    return np.stack((colours >> 16, colours >> 8 & 255, colours & 255), axis=1)


def read_values(path: Path, set_pixel: int = 1) -> np.ndarray:
    """(H, W) integers as stored: never converted, never turned upright.

    Args:
        path: of a palette or greyscale image.
        set_pixel: value of the set pixels of an image of one bit.

    Raises:
        LabelError: if it cannot be read, is a JPEG, or has colours.
    """
    mode, values = _read_pixels(path)
    if mode in ("LA", "PA"):
        return values[..., 0]
    if mode == "1":
        return values * np.uint8(set_pixel)
    if mode not in ("P", "L") and not mode.startswith("I"):
        raise LabelError(
            f"{path} has mode {mode}; a map is a palette or greyscale PNG of class ids"
        )
    return values


def read_colours(path: Path) -> np.ndarray:
    """(H, W) int32, 0xRRGGBB: never blended with what is transparent, never turned upright.

    Raises:
        LabelError: if it cannot be read, is a JPEG, or has more than eight bits.
    """
    mode, values = _read_pixels(path, as_mode="RGB")
    if mode not in _COLOUR_MODES:
        raise LabelError(f"{path} has mode {mode}; a coloured map is an RGB PNG")
    red, green, blue = np.moveaxis(values.astype(np.int32), 2, 0)
    colours: np.ndarray = red << 16 | green << 8 | blue
    return colours


def _read_pixels(path: Path, as_mode: str | None = None) -> tuple[str, np.ndarray]:
    """Pillow's mode of a file, and its values in this or another mode."""
    try:
        with Image.open(path) as image:
            is_lossy = image.format in ("JPEG", "MPO")
            mode = image.mode
            values = np.asarray(image if as_mode is None else image.convert(as_mode))
    except (OSError, SyntaxError, ValueError) as error:
        raise LabelError(f"{path} cannot be read as an image: {error}") from None
    if is_lossy:
        raise LabelError(f"{path} is a JPEG, which changes values; save maps as PNG")
    return mode, values


def require_size(path: Path, seg_map: np.ndarray, size: tuple[int, int]) -> np.ndarray:
    """The map itself, if it has its image's width and height.

    Raises:
        LabelError: if it has not.
    """
    height, width = seg_map.shape
    if (width, height) != size:
        raise LabelError(
            f"{path} is {width}x{height} but its image is {size[0]}x{size[1]}; "
            "a map needs the size of its image"
        )
    return seg_map


@dataclass(frozen=True)
class SbdMapFile:
    """`cls/ID.mat`: a struct GTcls whose Segmentation holds VOC's class ids.

    Attributes:
        path: of the file.
    """

    path: Path

    def read(self, size: tuple[int, int], table: ClassTable) -> np.ndarray:
        """See `MapLabel`.

        Raises:
            InputError: if scipy is not installed.
        """
        ids = read_mat(self.path)
        values = np.full(256, -1)
        values[: len(VOC_CLASSES)] = table.map_ids(VOC_CLASSES)
        seg_map = values[ids]
        if (seg_map < 0).any():
            unknown = sorted(set(ids[seg_map < 0].tolist()))
            raise LabelError(
                f"{self.path} holds the ids {unknown}, which no class of the network stands for"
            )
        return require_size(self.path, seg_map.astype(np.uint8), size)


def read_mat(path: Path) -> np.ndarray:
    """(H, W) uint8 class ids of VOC.

    Raises:
        LabelError: if the file is missing, damaged, or holds something else.
        InputError: if scipy is not installed.
    """
    require("scipy", "sbd", "a map of SBD")
    from scipy.io import loadmat
    from scipy.io.matlab import MatReadError

    try:
        with path.open("rb") as stream:
            ids = loadmat(stream, variable_names=["GTcls"])["GTcls"]["Segmentation"].item()
    except FileNotFoundError:
        raise LabelError(f"{path} does not exist") from None
    except KeyError:
        raise LabelError(f"{path} has no GTcls; maps are the files in the folder cls") from None
    except (
        OSError,
        ValueError,
        TypeError,
        IndexError,
        NotImplementedError,  # MATLAB 7.3, which is HDF5
        MatReadError,
        zlib.error,
    ) as error:
        text = " ".join(str(error).split())
        raise LabelError(f"{path} cannot be read as SBD's .mat file: {text}") from None
    if not isinstance(ids, np.ndarray) or ids.ndim != 2 or ids.dtype != np.uint8:
        raise LabelError(f"{path}: GTcls.Segmentation is no (height, width) of bytes")
    return ids
