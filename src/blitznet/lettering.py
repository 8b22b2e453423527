"""A font for any text: Pillow's own for ASCII, else one of the system that has its letters."""

import os
import re
import sys
import unicodedata
from collections.abc import Iterator
from functools import cache, lru_cache
from importlib.util import find_spec
from pathlib import Path

from PIL import ImageFont

Font = ImageFont.FreeTypeFont | ImageFont.ImageFont

# Tried first, for their looks; then every other font, plain ones before bold and slanted ones.
_PREFERRED = ("dejavusans", "notosans-regular", "liberationsans-regular", "arial", "segoeui")
_STYLES = ("bold", "italic", "oblique", "mono", "condensed", "light", "black", "thin", "serif")
_NO_LETTERS = ("lastresort", "blank", "emoji")  # these draw the same box for everything
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
    for path in _font_files():
        try:
            font = ImageFont.truetype(path, size)
            if _has_all(font, letters):
                return font
        except (OSError, ValueError):  # damaged, or of fixed sizes
            continue
    return None


def _has_all(font: ImageFont.FreeTypeFont, letters: str) -> bool:
    """Whether none of them is drawn as what stands for a missing letter, or as nothing."""
    missing = _look(font, _NO_CHARACTER)
    looks = (
        _look(font, letter) for letter in letters if unicodedata.category(letter)[0] not in "MZ"
    )
    return all(look != missing and any(look[1]) for look in looks)


def _look(font: ImageFont.FreeTypeFont, letter: str) -> tuple[tuple[int, int], bytes]:
    mask = font.getmask(letter)
    return mask.size, bytes(mask)


@cache
def _font_files() -> tuple[Path, ...]:
    """Fonts of this system and of matplotlib, in the order in which they are tried."""
    found = {
        path.name.lower(): path
        for folder in _font_folders()
        for suffix in ("ttf", "ttc", "otf")
        for path in folder.rglob(f"*.{suffix}")
    }
    names = (name for name in found if not any(word in name for word in _NO_LETTERS))
    return tuple(found[name] for name in sorted(names, key=_rank))


def _rank(name: str) -> tuple[int, int, str]:
    stem = name.rpartition(".")[0]
    place = _PREFERRED.index(stem) if stem in _PREFERRED else len(_PREFERRED)
    return place, sum(style in stem.replace("sans", "") for style in _STYLES), name


def _font_folders() -> Iterator[Path]:
    home = Path(os.path.expanduser("~"))  # noqa: PTH111 - Path.home() raises where there is none
    if sys.platform == "win32":
        yield Path(os.environ.get("WINDIR", r"C:\Windows"), "Fonts")
        yield Path(os.environ.get("LOCALAPPDATA", home), "Microsoft/Windows/Fonts")
    elif sys.platform == "darwin":
        yield from (Path("/System/Library/Fonts"), Path("/Library/Fonts"), home / "Library/Fonts")
    else:
        shared = os.environ.get("XDG_DATA_DIRS") or "/usr/local/share:/usr/share"
        yield from (Path(folder, "fonts") for folder in shared.split(":") if folder)
        yield from (home / ".local/share/fonts", home / ".fonts")
    matplotlib = find_spec("matplotlib")
    if matplotlib is not None and matplotlib.origin:
        yield Path(matplotlib.origin).parent / "mpl-data/fonts/ttf"
