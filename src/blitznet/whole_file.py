"""Files that are complete or not there."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from uuid import uuid4

from blitznet.errors import InputError

_TEMPORARY = ".blitznet-{}.part"
_OF_SAFETENSORS = ".tmp??????"  # where safetensors writes what it then gives the name asked for


@contextmanager
def whole_file(path: Path) -> Iterator[Path]:
    """Write a file under a temporary name; it gets its own name only when the block ends well.

    Args:
        path: final name, replaced if it exists.

    Yields:
        The temporary name, in the same folder, not yet there.

    Raises:
        InputError: if the block raises an OSError, or the file cannot be renamed.
    """
    temporary = path.with_name(_TEMPORARY.format(uuid4().hex))
    try:
        yield temporary
        temporary.replace(path)
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror or error})") from error
    finally:
        if temporary.exists():  # not where the folder is a file, which unlink would not forgive
            temporary.unlink()


def unfinished_files(folder: Path) -> list[Path]:
    """What processes that were killed while writing left in a folder, or what one writes now."""
    patterns = (_TEMPORARY.format("*"), _OF_SAFETENSORS)
    return [path for pattern in patterns for path in folder.glob(pattern)]
