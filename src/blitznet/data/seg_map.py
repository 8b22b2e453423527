"""Segmentation map files, and the classes that their values or colours mean."""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from PIL import Image

from blitznet.classes import IGNORE_INDEX, VOC_CLASSES, voc_palette
from blitznet.data.labels import IGNORE, ClassTable
from blitznet.data.mat_file import read_mat
from blitznet.errors import ImageError, LabelError, shown
from blitznet.files.text_files import read_text
from blitznet.image import GREY_BITS, read_stored

ValueNames = dict[int, str] | list[str] | Path  # as written in a data description
ColourNames = dict[str, str] | Path

VOC = Path("voc")  # in place of a file: VOC's own values or colours

MAX_VALUE = 255

# labelme2voc's class_names.txt
_LABELME_NAMES = {"_background_": "background", "__ignore__": IGNORE}

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
        are_final: whether the names are the network's, so that no label map applies.
    """

    names: Mapping[int, str]
    are_colours: bool = False
    are_final: bool = False

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

    def __call__(self, size: tuple[int, int], table: ClassTable) -> np.ndarray:
        """Read the map; see `ReadMap`."""
        table = ClassTable(table.names) if self.codes.are_final else table
        ids = {code: table.map_id(name) for code, name in self.codes.names.items()}
        known = {code: index for code, index in ids.items() if index is not None}
        pixels = self._read_codes()
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
        listed = ", ".join(map(self.codes.describe, most[:CODES_SHOWN]))
        if len(most) > CODES_SHOWN:
            listed += f" and {len(most) - CODES_SHOWN} more"
            listed += (
                "; if it was smoothed or a JPEG, save a PNG and resize it by nearest neighbour"
            )
        kind = "colours" if self.codes.are_colours else "values"
        return f"{len(pixels)} pixels have {kind} without a class of the network: {listed}"

    def _read_codes(self) -> np.ndarray:
        """The (H, W) codes as stored, integers or bool: never blended and never turned upright."""
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
        return np.take(ids, pixels)
    codes, ids = np.array(sorted(known.items()) or [(-1, -1)]).T
    nearest = np.searchsorted(codes, pixels).clip(max=len(codes) - 1)
    return np.where(codes[nearest] == pixels, ids[nearest], -1)


def _is_grey_gif(image: Image.Image) -> bool:
    """Whether a GIF stores grey values, which need a palette in this format."""
    palette = np.array(image.getpalette("RGB") or (), np.uint8).reshape(-1, 3)
    return image.format == "GIF" and image.mode == "P" and not np.ptp(palette, axis=1).any()


def parse_codes(
    values: ValueNames | None,
    colours: ColourNames | None,
    folder: Path,
    ignore: Sequence[int | str] | None = None,
) -> MapEncoding:
    """Parse the codes of a data description, by value or by colour.

    Args:
        values: names by value, or a list from value 0; `voc`; or a file: Roboflow's `_classes.csv`,
            or a text file with one name per line as written by labelme2voc.
        colours: names by colour, "#800000" or "128,0,0"; `voc`; or a file: CVAT's labelmap.txt.
        folder: base of relative paths.
        ignore: void values or colours; None = 255 unless it has a name, or VOC's void with `voc`.

    Raises:
        LabelError: if a file, a name or a code cannot be used.
    """
    names: Mapping[int, str]
    if colours is not None:
        names = _colour_names(colours, folder)
        if not 0 < len(names) <= MAX_VALUE:
            text = f"the maps have {len(names)} named colours"
            raise LabelError(f"{text}; 1 to {MAX_VALUE} can be read")
        void = [parse_colour(str(text)) for text in ignore or ()]
        if colours == VOC and ignore is None:
            void = [_voc_colours()[IGNORE_INDEX]]
    else:
        assert values is not None
        names = _value_names(values, folder)
        if ignore is None:
            ignore = [IGNORE_INDEX] if IGNORE_INDEX not in names else []
        void = [value for value in ignore if isinstance(value, int)]
        if len(void) < len(ignore):
            raise LabelError(f"ignore: {list(ignore)} holds colours, but the maps hold values")
        if not names:
            raise LabelError("the values of the maps have no names")
        for value in (*names, *void):
            if not 0 <= value <= MAX_VALUE:
                raise LabelError(f"map value {value} is not in 0..{MAX_VALUE}")
    codes = MapEncoding(names, are_colours=colours is not None)
    for code in void:
        if code in names:
            kind = "colour" if codes.are_colours else "value"
            raise LabelError(f"{kind} {codes.describe(code)} of the maps is also in `ignore`")
    return replace(codes, names={**names, **dict.fromkeys(void, IGNORE)})


def parse_colour(text: str) -> int:
    """ "#800000" or "128,0,0" to 0x800000.

    Raises:
        LabelError: for anything else.
    """
    text = text.strip()
    if re.fullmatch("#[0-9a-fA-F]{6}", text):
        return int(text[1:], 16)
    if re.fullmatch(r"\d{1,3}( *, *\d{1,3}){2}", text):
        red, green, blue = (int(part) for part in text.split(","))
        if max(red, green, blue) <= MAX_VALUE:
            return red << 16 | green << 8 | blue
    raise LabelError(f'{shown(text)} is not a colour; write "#800000" or "128,0,0"')


def read_lines(path: Path) -> list[str]:
    """The stripped lines of a text file, without trailing blank lines.

    Raises:
        LabelError: if the file is missing or not text.
    """
    return [line.strip() for line in read_text(path, LabelError).rstrip().splitlines()]


def _value_names(values: ValueNames, folder: Path) -> Mapping[int, str]:
    if isinstance(values, dict):
        return values
    if values == VOC:
        return dict(enumerate(VOC_CLASSES))
    if isinstance(values, list):
        return dict(enumerate(values))
    lines = read_lines(path := folder / values)
    if path.suffix == ".csv":  # Roboflow's: a header, then lines such as "0, background"
        try:
            return {int(value): name.strip() for value, name in csv.reader(lines[1:])}
        except (ValueError, csv.Error):
            raise LabelError(f"{path}: below its header, lines must be VALUE, CLASS") from None
    # One name per line, from value 0; LabelMe starts with `__ignore__` for value -1 = void.
    names = [_LABELME_NAMES.get(name, name) for name in lines]
    if not names or "" in names:
        raise LabelError(f"{path} has a blank line or no name; it needs one name per line")
    first = -1 if names[0] == IGNORE else 0
    return {value % (MAX_VALUE + 1): name for value, name in enumerate(names, start=first)}


def _colour_names(colours: ColourNames, folder: Path) -> Mapping[int, str]:
    if isinstance(colours, dict):
        return {parse_colour(text): name for text, name in colours.items()}
    if colours == VOC:
        return dict(zip(_voc_colours(), VOC_CLASSES, strict=False))
    path = folder / colours
    names: dict[int, str] = {}
    for number, line in enumerate(read_lines(path), start=1):  # CVAT's labelmap.txt
        if not line or line.startswith("#"):
            continue
        parts = line.rsplit(":", 3)
        if len(parts) < 4:
            raise LabelError(
                f"{path}, line {number}: {shown(line)} is not NAME:R,G,B:PARTS:ACTIONS"
            )
        try:
            names[parse_colour(parts[1])] = parts[0]
        except LabelError as error:
            raise LabelError(f"{path}, line {number}: {error}") from None
    return names


def _voc_colours() -> list[int]:
    return [red << 16 | green << 8 | blue for red, green, blue in voc_palette().tolist()]
