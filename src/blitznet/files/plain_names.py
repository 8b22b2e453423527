"""Make untrusted names safe as file names and for printing."""

import os
import unicodedata
from pathlib import Path

# Limits of file systems, minus the longest suffix that we append to a name.
_MAX_BYTES = 200
_MAX_PATH = 4000

# Categories that move the cursor or end the line; characters that change the writing direction.
_UNSEEN = ("Cc", "Cs", "Zl", "Zp")
_TURNING = frozenset("\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def file_name(text: str) -> str:
    """Convert text to a name without folders for any file system, with room for a suffix.

    Args:
        text: any text; returned unchanged if it is such a name already.

    Returns:
        A non-empty name of at most 200 bytes, without a leading dot.
    """
    text = "".join("-" if one in "/\\" or _is_unseen(one) else one for one in text)
    text = text.encode()[:_MAX_BYTES].decode(errors="ignore")
    return text.lstrip(".").rstrip(". ") or "unnamed"


def is_possible_path(path: Path) -> bool:
    """Whether a file system could hold this path; other paths make `os` raise OSError."""
    try:
        encoded = os.fsencode(path)
    except UnicodeEncodeError:  # an unpaired surrogate
        return False
    is_long = len(encoded) > _MAX_PATH or any(len(os.fsencode(p)) > 255 for p in path.parts)
    return not is_long and b"\0" not in encoded


def printable(text: str) -> str:
    """Escape control characters, so that the text is one line and cannot affect a terminal."""
    if text.isprintable():
        return text
    return "".join(_escaped(one) if _is_unseen(one) else one for one in text)


def _is_unseen(character: str) -> bool:
    return character in _TURNING or unicodedata.category(character) in _UNSEEN


def _escaped(character: str) -> str:
    return character.encode("unicode_escape", "surrogatepass").decode()
