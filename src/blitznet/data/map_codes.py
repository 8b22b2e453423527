"""What the values or colours of a source's segmentation maps stand for."""

import csv
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from blitznet.classes import IGNORE_INDEX, VOC_CLASSES, voc_palette
from blitznet.data.class_table import IGNORE
from blitznet.data.labels import MapLabel
from blitznet.data.seg_map import Colour, ColourMapFile, IdMapFile
from blitznet.errors import LabelError

ValueNames = dict[int, str] | list[str] | Path  # as a data description says it
ColourNames = dict[str, str] | Path

VOC = Path("voc")  # instead of a file: VOC's own values or colours
MAX_VALUE = 255

# labelme2voc's class_names.txt
_LABELME_NAMES = {"_background_": "background", "__ignore__": IGNORE}


@dataclass(frozen=True)
class MapCodes:
    """Either values or colours; the other is empty.

    Attributes:
        values: the source's class names by pixel value, as pairs.
        colours: by colour.
        ignore_values: void.
        ignore_colours: void.
    """

    values: tuple[tuple[int, str], ...] = ()
    colours: tuple[tuple[Colour, str], ...] = ()
    ignore_values: tuple[int, ...] = ()
    ignore_colours: tuple[Colour, ...] = ()

    def open(self, path: Path) -> MapLabel:
        """The map in a file; nothing is read yet."""
        if self.colours:
            return ColourMapFile(path, self.colours, self.ignore_colours)
        return IdMapFile(path, self.values, self.ignore_values)


def value_codes(names: Mapping[int, str], ignore: Sequence[int | str] | None = None) -> MapCodes:
    """Codes of maps whose pixel values are ids.

    Args:
        names: by value; "background" is background, "ignore" is void.
        ignore: void values; None = 255, unless it has a name.

    Raises:
        LabelError: for a value that is none, or is both named and void.
    """
    if ignore is None:
        ignore = [IGNORE_INDEX] if IGNORE_INDEX not in names else []
    values = tuple(value for value in ignore if isinstance(value, int))
    if len(values) < len(ignore):
        raise LabelError(f"ignore: {list(ignore)} holds colours, but the maps hold values")
    if not names:
        raise LabelError("the values of the maps have no names")
    for value in (*names, *values):
        if not 0 <= value <= MAX_VALUE:
            raise LabelError(f"map value {value} is not in 0..{MAX_VALUE}")
        if value in names and value in values:
            raise LabelError(f"map value {value} is both {names[value]!r} and in `ignore`")
    return MapCodes(values=tuple(names.items()), ignore_values=values)


def colour_codes(
    names: Mapping[Colour, str], ignore: Sequence[int | str] | None = None
) -> MapCodes:
    """Codes of maps whose colours are classes; arguments as of `value_codes`, colours as text.

    Raises:
        LabelError: for a void colour that is none, or has a name.
    """
    colours = tuple(parse_colour(str(text)) for text in ignore or ())
    if not 0 < len(names) <= MAX_VALUE:
        raise LabelError(f"the maps have {len(names)} named colours; 1 to {MAX_VALUE} can be read")
    for colour in colours:
        if colour in names:
            raise LabelError(f"colour {list(colour)} is both {names[colour]!r} and in `ignore`")
    return MapCodes(colours=tuple(names.items()), ignore_colours=colours)


def read_value_codes(
    names: ValueNames, folder: Path, ignore: Sequence[int | str] | None = None
) -> MapCodes:
    """Codes as a data description says them.

    Args:
        names: by value, or in the order of the values from 0; `voc`; or a file: Roboflow's
            `_classes.csv`, or a text with a name a line as labelme2voc writes it.
        folder: what relative paths are relative to.
        ignore: see `value_codes`.

    Raises:
        LabelError: if the file or the names cannot be used.
    """
    if names == VOC:
        names = list(VOC_CLASSES)
    elif isinstance(names, Path):
        path = folder / names
        names = _read_classes_csv(path) if path.suffix == ".csv" else _read_class_names(path)
    return value_codes(names if isinstance(names, dict) else dict(enumerate(names)), ignore)


def read_colour_codes(
    names: ColourNames, folder: Path, ignore: Sequence[int | str] | None = None
) -> MapCodes:
    """As `read_value_codes` for colours, "#800000" or "128,0,0"; a file is CVAT's labelmap.txt.

    Raises:
        LabelError: if the file or the colours cannot be used.
    """
    if names == VOC:
        palette = [(r, g, b) for r, g, b in voc_palette().tolist()]
        void = ["{},{},{}".format(*palette[IGNORE_INDEX])]
        return colour_codes(
            dict(zip(palette, VOC_CLASSES, strict=False)), void if ignore is None else ignore
        )
    if isinstance(names, Path):
        return colour_codes(_read_labelmap(folder / names), ignore)
    return colour_codes({parse_colour(text): name for text, name in names.items()}, ignore)


def parse_colour(text: str) -> Colour:
    """ "#800000" or "128,0,0" to (128, 0, 0).

    Raises:
        LabelError: for anything else.
    """
    text = text.strip()
    if re.fullmatch("#[0-9a-fA-F]{6}", text):
        red, green, blue = bytes.fromhex(text[1:])
        return red, green, blue
    if re.fullmatch(r"\d{1,3}( *, *\d{1,3}){2}", text):
        red, green, blue = (int(part) for part in text.split(","))
        if max(red, green, blue) <= MAX_VALUE:
            return red, green, blue
    raise LabelError(f'{text!r} is no colour; write "#800000" or "128,0,0"')


def read_lines(path: Path) -> list[str]:
    """The lines of a text file, without blanks at the end of any or of all.

    Raises:
        LabelError: if it is missing or no text.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")  # some editors write a mark in front
    except FileNotFoundError:
        raise LabelError(f"{path} does not exist") from None
    except (OSError, UnicodeDecodeError) as error:
        raise LabelError(f"{path} cannot be read as text: {error}") from None
    return [line.strip() for line in text.rstrip().splitlines()]


def _read_class_names(path: Path) -> dict[int, str]:
    """A name a line, from value 0 on; `__ignore__` on top, as in LabelMe's labels, is -1 = void."""
    names = [_LABELME_NAMES.get(name, name) for name in read_lines(path)]
    if not names or "" in names:
        raise LabelError(f"{path} has a blank line or no name; it needs one name a line")
    first = -1 if names[0] == IGNORE else 0
    return {value % (MAX_VALUE + 1): name for value, name in enumerate(names, start=first)}


def _read_classes_csv(path: Path) -> dict[int, str]:
    """Roboflow's: a heading, then "0, background" and so on."""
    rows = [[part.strip() for part in row] for row in csv.reader(read_lines(path)[1:])]
    try:
        return {int(value): name for value, name in rows}
    except ValueError:
        raise LabelError(f"{path}: below its heading, lines are VALUE, CLASS") from None


def _read_labelmap(path: Path) -> dict[Colour, str]:
    """CVAT's: "name:r,g,b:parts:actions" a line."""
    colours: dict[Colour, str] = {}
    for number, line in enumerate(read_lines(path), start=1):
        if not line or line.startswith("#"):
            continue
        parts = line.rsplit(":", 3)
        if len(parts) < 4:
            raise LabelError(f"{path}, line {number}: {line!r} is not NAME:R,G,B:PARTS:ACTIONS")
        try:
            colours[parse_colour(parts[1])] = parts[0]
        except LabelError as error:
            raise LabelError(f"{path}, line {number}: {error}") from None
    return colours
