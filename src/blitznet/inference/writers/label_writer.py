"""What all label formats are: a folder that scenes are added to, one by one."""

from collections.abc import Callable
from pathlib import Path

from blitznet.errors import InputError
from blitznet.scene import Scene

# scene, a name that no other picture of the run has, and the picture's path in the folder that all
# pictures of the run share, with forward slashes.
AddScene = Callable[[Scene, str, str], None]


def make_label_folder(folder: Path) -> Path:
    """The folder itself, made with its parents if it is not there.

    Raises:
        InputError: if it cannot be made.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror})") from error
    return folder
