"""The sample photos that come inside scikit-image."""

from importlib.util import find_spec
from pathlib import Path

from blitznet.errors import InputError
from blitznet.extras import require

# Photos of things with and without a VOC class; the last two show what must not be found.
PHOTOS = (
    "chelsea.png",
    "astronaut.png",
    "camera.png",
    "motorcycle_left.png",
    "coffee.png",
    "rocket.jpg",
)


def demo_images() -> list[Path]:
    """Photos in the installed scikit-image, which is not imported; nothing is downloaded.

    Raises:
        InputError: if scikit-image is not installed, or has none of them.
    """
    require("skimage", "demo", "the demo")
    package = find_spec("skimage")
    assert package is not None
    folder = Path(package.origin or "").parent / "data"
    found = [folder / name for name in PHOTOS if (folder / name).is_file()]
    if not found:
        raise InputError(f"{folder}: this version of scikit-image has none of the demo's photos")
    return found
