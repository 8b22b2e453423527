"""Segmentation map files: class ids, palettes, colours, and SBD's MATLAB files."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from PIL import Image

from blitznet.classes import IGNORE_INDEX, VOC_CLASSES
from blitznet.data.labels import IGNORE, ClassTable
from blitznet.data.mat_file import read_mat
from blitznet.errors import ImageError, LabelError
from blitznet.image import GREY_BITS, read_stored

MAX_VALUE = 255

CODES_SHOWN = 3  # unknown codes listed in a message
_COUNTED = 1_000_000  # pixels searched for them
_BAND = 256  # rows converted at a time

_VALUE_MODES = ("P", "PA", "L", "LA", "1", "I", "I;16", "I;16B", "I;16L")
_COLOUR_MODES = ("P", "PA", "RGB", "RGBA", "L", "LA", "1")


@dataclass(frozen=True)
class MapEncoding:
    """Class names by code; a code is a pixel value, or a colour as 0xRRGGBB.

    Attributes:
        names: the source's class names by code; "background" is background, "ignore" is void.
        are_colours: whether codes are colours.
    """

    names: Mapping[int, str]
    are_colours: bool = False

    def describe(self, code: int) -> str:
        """The code in a message: "7" or "#804080 (road)"."""
        text = f"#{code:06x}" if self.are_colours else str(code)
        return f"{text} ({self.names[code]})" if code in self.names else text


VOC_CODES = MapEncoding({**dict(enumerate(VOC_CLASSES)), IGNORE_INDEX: IGNORE})


@dataclass(frozen=True)
class MapFile:
    """A PNG or other lossless image whose pixel values or colours are classes, or SBD's ID.mat.

    Attributes:
        path: map file. Transparency is ignored. Palette images are read as indices, unless the
            codes are colours. Set pixels of a 1-bit image are 1, or 255 if 1 has no name.
        codes: meaning of its values or colours.
    """

    path: Path
    codes: MapEncoding = VOC_CODES

    def read(self, size: tuple[int, int], table: ClassTable) -> np.ndarray:
        """See `MapLabel`."""
        ids = {code: table.map_id(name) for code, name in self.codes.names.items()}
        known = {code: index for code, index in ids.items() if index is not None}
        pixels = self.read_codes()
        if pixels.dtype == bool:
            pixels = pixels * np.uint8(1 if 1 in known else MAX_VALUE)
        if pixels.shape != size[::-1]:
            height, width = pixels.shape
            text = f"{self.path} is {width}x{height} but its image is {size[0]}x{size[1]}"
            raise LabelError(f"{text}; a map needs the size of its image")
        # In bands of rows, because wider integers for the whole map would take much more memory.
        seg_map, is_known = np.empty(pixels.shape, np.uint8), np.empty(pixels.shape, bool)
        for top in range(0, len(pixels), _BAND):
            band = slice(top, top + _BAND)
            found = _ids_of(pixels[band], known)
            is_known[band], seg_map[band] = found >= 0, found
        if not is_known.all():
            raise LabelError(f"{self.path}: {self._describe_unknown(pixels[~is_known])}")
        return seg_map

    def _describe_unknown(self, pixels: np.ndarray) -> str:
        """Describe (N,) codes that have no class."""
        unknown, counts = np.unique(pixels[:_COUNTED], return_counts=True)
        most = unknown[np.argsort(-counts, kind="stable")].tolist()
        shown = ", ".join(map(self.codes.describe, most[:CODES_SHOWN]))
        if len(most) > CODES_SHOWN:
            shown += f" and {len(most) - CODES_SHOWN} more"
            shown += "; if it was smoothed or a JPEG, save a PNG and resize it by nearest neighbour"
        kind = "colours" if self.codes.are_colours else "values"
        return f"{len(pixels)} pixels have {kind} without a class of the network: {shown}"

    def read_codes(self) -> np.ndarray:
        """The (H, W) codes as stored, integers or bool: never blended and never turned upright.

        Raises:
            LabelError: if the file cannot be read, is a JPEG, or has an unsuitable mode.
        """
        if self.path.suffix == ".mat":
            return read_mat(self.path)
        are_colours = self.codes.are_colours
        try:
            image = read_stored(self.path)
        except ImageError as error:
            raise LabelError(str(error)) from None
        mode = image.mode
        if image.format == "JPEG":
            raise LabelError(f"{self.path} is a JPEG, which changes values; save maps as PNG")
        if mode not in (_COLOUR_MODES if are_colours else _VALUE_MODES):
            kind = "an RGB PNG" if are_colours else "a palette or greyscale PNG of class ids"
            if mode in _COLOUR_MODES:
                kind += "; for colours write mask_colours: {COLOUR: CLASS} (format masks: colours)"
            raise LabelError(f"{self.path} has mode {mode}; a map is {kind}")
        if are_colours:
            codes = np.empty(image.size[::-1], np.int32)
            for top in range(0, image.height, _BAND):
                bottom = min(top + _BAND, image.height)
                colours = image.crop((0, top, image.width, bottom)).convert("RGB")
                codes[top:bottom] = np.asarray(colours) @ np.array([1 << 16, 1 << 8, 1], np.int32)
            return codes
        values: np.ndarray = np.asarray(image.convert("L") if _is_grey_gif(image) else image)
        if (bits := image.info[GREY_BITS]) < 8:  # Pillow stretches them to 0 ... 255
            values = values // np.uint8(MAX_VALUE // (2**bits - 1))
        if values.ndim == 3:  # drop transparency
            values = values[..., 0]
        return values


def _ids_of(pixels: np.ndarray, known: dict[int, int]) -> np.ndarray:
    """Class ids of codes, int16 or int64; -1 for unknown codes."""
    if pixels.dtype == np.uint8:
        ids = np.full(MAX_VALUE + 1, -1, np.int16)
        ids[list(known)] = list(known.values())
        of_pixels: np.ndarray = ids[pixels]
        return of_pixels
    codes, ids = np.array(sorted(known.items()) or [(-1, -1)]).T
    nearest = np.searchsorted(codes, pixels).clip(max=len(codes) - 1)
    found: np.ndarray = np.where(codes[nearest] == pixels, ids[nearest], -1)
    return found


def _is_grey_gif(image: Image.Image) -> bool:
    """Whether a GIF stores grey values, which need a palette in this format."""
    if image.format != "GIF" or image.mode != "P":
        return False
    red, green, blue = np.array(image.getpalette("RGB") or (), np.uint8).reshape(-1, 3).T
    return bool((red == green).all() and (green == blue).all())
