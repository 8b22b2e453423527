"""Where files are kept that can be made again."""

import os
import sys
from pathlib import Path

CACHE_VARIABLE = "BLITZNET_CACHE"


def cache_folder() -> Path:
    """This user's folder: BLITZNET_CACHE, or `blitznet` where the platform keeps such things."""
    own = os.environ.get(CACHE_VARIABLE)
    return Path(own) if own else _platform_folder() / "blitznet"


def _platform_folder() -> Path:
    base = os.environ.get("XDG_CACHE_HOME")  # XDG base directories, wherever somebody set it
    if base:
        return Path(base)
    if sys.platform == "win32":
        return Path(os.environ.get("LOCALAPPDATA") or Path.home() / "AppData" / "Local")
    if sys.platform == "darwin":
        return Path.home() / "Library" / "Caches"
    return Path.home() / ".cache"
