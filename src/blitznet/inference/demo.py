"""Find sample photos: two come with the package, the others with scikit-image."""

from importlib.util import find_spec
from pathlib import Path

# Photos of objects with and without a VOC class; the last two should give no detections.
PHOTOS = (
    "chelsea.png",
    "astronaut.png",
    "camera.png",
    "motorcycle_left.png",
    "coffee.png",
    "rocket.jpg",
)


def demo_images() -> list[Path]:
    """Find the photos of scikit-image without importing it, or else those of the web page."""
    package = find_spec("skimage")
    if package is not None and package.origin is not None:
        folder = Path(package.origin).parent / "data"
        if found := [folder / name for name in PHOTOS if (folder / name).is_file()]:
            return found
    return sorted((Path(__file__).parents[1] / "service/page/examples").glob("*.jpg"))
