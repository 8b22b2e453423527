"""A font for any text: Pillow's own for ASCII, else one of the system that has its letters."""

import re
import unicodedata
from contextlib import suppress
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path

from PIL import ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

# Looked for by Pillow where systems keep fonts, in this order.
_FONTS = (
    "DejaVuSans.ttf", "NotoSans-Regular.ttf", "LiberationSans-Regular.ttf", "arial.ttf",
    "Arial Unicode.ttf", "NotoSansCJK-Regular.ttc", "wqy-microhei.ttc", "msyh.ttc",
)  # fmt: skip
_NO_CHARACTER = "\U0010ffff"
_LATIN = re.compile(r"LATIN (SMALL|CAPITAL) (?:LETTER|LIGATURE) (\w{1,2})(?: WITH .*)?")


def lettering(text: str, size: int) -> tuple[Font, str]:
    """A font and what to write with it.

    Args:
        text: anything; what cannot be printed becomes a blank.
        size: of the font, pixels.

    Returns:
        The text as it is, where a font has all of its letters. Else its ASCII twin: Latin letters
        without their marks, others as `\\u72d7`, so that no letter is an empty box.
    """
    text = "".join(letter if letter.isprintable() else " " for letter in text)
    letters = "".join(sorted({letter for letter in text if not letter.isascii()}))
    if not letters:
        return _own_font(size), text
    font = _system_font(letters, size)
    return (_own_font(size), to_ascii(text)) if font is None else (font, text)


def to_ascii(text: str) -> str:
    """`łódź` as `lodz`, `狗` as `\\u72d7`."""
    decomposed = unicodedata.normalize("NFKD", text.replace("ß", "ss"))
    plain = (_latin(letter) for letter in decomposed if not unicodedata.combining(letter))
    return "".join(plain).encode("ascii", "backslashreplace").decode()


def _latin(letter: str) -> str:
    match = None if letter.isascii() else _LATIN.fullmatch(unicodedata.name(letter, ""))
    if match is None:
        return letter
    return match[2].lower() if match[1] == "SMALL" else match[2]


@cache
def _own_font(size: int) -> Font:
    return ImageFont.load_default(size)


@lru_cache(maxsize=256)
def _system_font(letters: str, size: int) -> Font | None:
    for name in _font_names():
        with suppress(OSError):  # not there, or damaged
            font = ImageFont.truetype(name, size)
            if _has_all(font, letters):
                return font
    return None


@cache
def _font_names() -> tuple[str, ...]:
    """Those of the system, and the one that comes with matplotlib."""
    matplotlib = find_spec("matplotlib")
    if matplotlib is None or not matplotlib.origin:
        return _FONTS
    return *_FONTS, str(Path(matplotlib.origin).parent / "mpl-data/fonts/ttf/DejaVuSans.ttf")


def _has_all(font: ImageFont.FreeTypeFont, letters: str) -> bool:
    """Whether none of them is drawn as what stands for a missing letter, or as nothing."""
    missing = _render(font, _NO_CHARACTER)
    looks = (
        _render(font, letter) for letter in letters if unicodedata.category(letter)[0] not in "MZ"
    )
    return all(look != missing and any(look[1]) for look in looks)


def _render(font: ImageFont.FreeTypeFont, letter: str) -> tuple[tuple[int, int], bytes]:
    mask = font.getmask(letter)
    return mask.size, bytes(mask)
