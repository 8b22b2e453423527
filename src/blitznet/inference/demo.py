"""The sample photos: two come with the package, the others inside scikit-image."""

from importlib.util import find_spec
from pathlib import Path

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
    """Photos in the installed scikit-image, which is not imported, or those of the web page."""
    package = find_spec("skimage")
    if package is not None and package.origin is not None:
        folder = Path(package.origin).parent / "data"
        if found := [folder / name for name in PHOTOS if (folder / name).is_file()]:
            return found
    return sorted((Path(__file__).parents[1] / "service/page/examples").glob("*.jpg"))
