"""Class names for the values or colours of a source's segmentation maps."""

import csv
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Self

from pydantic import model_validator

from blitznet.classes import IGNORE_INDEX, VOC_CLASSES, voc_palette
from blitznet.data.labels import IGNORE
from blitznet.data.seg_map import MAX_VALUE, MapEncoding
from blitznet.data.source import SourceEntry
from blitznet.errors import LabelError, shown
from blitznet.files.text_files import read_text

ValueNames = dict[int, str] | list[str] | Path  # as written in a data description
ColourNames = dict[str, str] | Path

VOC = Path("voc")  # in place of a file: VOC's own values or colours

# labelme2voc's class_names.txt
_LABELME_NAMES = {"_background_": "background", "__ignore__": IGNORE}


class CodedEntry(SourceEntry):
    """An entry whose maps may use other values or colours than the format's.

    Attributes:
        mask_values: class names by map value, see `parse_codes`; None = the format's own.
        mask_colours: class names by colour instead.
    """

    mask_values: ValueNames | None = None
    mask_colours: ColourNames | None = None

    @model_validator(mode="after")
    def _codes_have_maps(self) -> Self:
        codes = [self.mask_values, self.mask_colours]
        if None not in codes or (codes != [None, None] and not isinstance(self.masks, Path)):
            raise ValueError("mask_values: and mask_colours: need masks: FOLDER")
        return self

    @property
    def values_key(self) -> str | None:
        """See `SourceEntry`."""
        return "mask_values" if isinstance(self.masks, Path) and not self.mask_colours else None

    def codes(self, folder: Path, default: MapEncoding) -> MapEncoding:
        """The encoding of its maps; `default` is the format's own."""
        if self.mask_values is None and self.mask_colours is None:
            return default
        return parse_codes(self.mask_values, self.mask_colours, folder)


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
    if colours is None:
        assert values is not None
        return value_codes(_value_names(values, folder), ignore)
    names = _colour_names(colours, folder)
    if not 0 < len(names) <= MAX_VALUE:
        raise LabelError(f"the maps have {len(names)} named colours; 1 to {MAX_VALUE} can be read")
    if colours == VOC and ignore is None:
        return _with_void(names, [_voc_colours()[IGNORE_INDEX]], are_colours=True)
    return _with_void(names, [parse_colour(str(text)) for text in ignore or ()], are_colours=True)


def value_codes(names: Mapping[int, str], ignore: Sequence[int | str] | None = None) -> MapEncoding:
    """Codes of maps whose pixel values are ids; for the arguments, see `parse_codes`.

    Raises:
        LabelError: for an invalid value, or one that is both named and void.
    """
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
    return _with_void(names, void, are_colours=False)


def _with_void(names: Mapping[int, str], void: Sequence[int], are_colours: bool) -> MapEncoding:
    for code in void:
        if code in names:
            kind, text = ("value", "colour")[are_colours], MapEncoding(names, are_colours)
            raise LabelError(f"{kind} {text.describe(code)} of the maps is also in `ignore`")
    return MapEncoding({**names, **dict.fromkeys(void, IGNORE)}, are_colours)


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
