"""Choose a font for any text: Pillow's own for ASCII, else a system font with its letters."""

import re
import unicodedata
from contextlib import suppress
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path

from PIL import ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

# Candidates in order; Pillow searches the system's font folders.
_FONTS = (
    "DejaVuSans.ttf", "NotoSans-Regular.ttf", "LiberationSans-Regular.ttf", "arial.ttf",
    "Arial Unicode.ttf", "NotoSansCJK-Regular.ttc", "wqy-microhei.ttc", "msyh.ttc",
)  # fmt: skip
_own_font = cache(ImageFont.load_default)
_NO_CHARACTER = "\U0010ffff"
_LATIN = re.compile(r"LATIN (SMALL|CAPITAL) (?:LETTER|LIGATURE) (\w{1,2})(?: WITH .*)?")


def lettering(text: str, size: int) -> tuple[Font, str]:
    """Choose a font for a text, and the text to write with it.

    Args:
        text: any text; unprintable characters become spaces.
        size: font size in pixels.

    Returns:
        The font, and the same text if the font has all of its letters, else `to_ascii` of it, so
        that no letter is drawn as an empty box.
    """
    text = "".join(letter if letter.isprintable() else " " for letter in text)
    letters = "".join(sorted({letter for letter in text if not letter.isascii()}))
    if not letters:
        return _own_font(size), text
    font = _system_font(letters, size)
    return (_own_font(size), to_ascii(text)) if font is None else (font, text)


def to_ascii(text: str) -> str:
    """Transliterate to ASCII: `łódź` becomes `lodz`, `狗` becomes `\\u72d7`."""
    decomposed = unicodedata.normalize("NFKD", text.replace("ß", "ss"))
    plain = (_latin(letter) for letter in decomposed if not unicodedata.combining(letter))
    return "".join(plain).encode("ascii", "backslashreplace").decode()


def _latin(letter: str) -> str:
    match = None if letter.isascii() else _LATIN.fullmatch(unicodedata.name(letter, ""))
    if match is None:
        return letter
    return match[2].lower() if match[1] == "SMALL" else match[2]


@lru_cache(maxsize=256)
def _system_font(letters: str, size: int) -> Font | None:
    for name in _font_names():
        with suppress(OSError):  # missing or damaged
            font = ImageFont.truetype(name, size)
            if _has_all(font, letters):
                return font
    return None


@cache
def _font_names() -> tuple[str, ...]:
    """System fonts, and the one that comes with matplotlib."""
    matplotlib = find_spec("matplotlib")
    if matplotlib is None or not matplotlib.origin:
        return _FONTS
    return *_FONTS, str(Path(matplotlib.origin).parent / "mpl-data/fonts/ttf/DejaVuSans.ttf")


def _has_all(font: ImageFont.FreeTypeFont, letters: str) -> bool:
    """Whether every letter has a glyph, neither empty nor the one for missing letters."""
    missing = _render(font, _NO_CHARACTER)
    looks = (
        _render(font, letter) for letter in letters if unicodedata.category(letter)[0] not in "MZ"
    )
    return all(look != missing and any(look[1]) for look in looks)


def _render(font: ImageFont.FreeTypeFont, letter: str) -> tuple[tuple[int, int], bytes]:
    mask = font.getmask(letter)
    return mask.size, bytes(mask)
