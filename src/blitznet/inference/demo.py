"""The photos that come inside scikit-image, and a table of what was found in them."""

from collections.abc import Iterator
from importlib.util import find_spec
from pathlib import Path

import numpy as np
from rich.table import Table

from blitznet.errors import InputError
from blitznet.extras import require
from blitznet.scene import MIN_SHARE, Scene

# Photos of things with and without a VOC class; the last two show what must not be found.
PHOTOS = (
    "chelsea.png",
    "astronaut.png",
    "camera.png",
    "motorcycle_left.png",
    "coffee.png",
    "rocket.jpg",
)


def demo_pictures() -> list[Path]:
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


def scene_table() -> Table:
    """An empty table for `scene_rows`."""
    table = Table("image", "class", title="What the network found")
    for name in ("score", "box (pixels)", "share of pixels"):
        table.add_column(name, justify="right")
    return table


def scene_rows(scene: Scene) -> Iterator[tuple[str, str, str, str, str]]:
    """A row for every object, then one for every class of the map that no object has.

    Yields:
        Image, class, score, box in pixels, share of the image in per cent.
    """
    rows = [*_object_rows(scene), *_region_rows(scene)] or [("nothing", "", "", "")]
    for index, row in enumerate(rows):
        yield (Path(scene.source or "").name if index == 0 else "", *row)


def _object_rows(scene: Scene) -> Iterator[tuple[str, str, str, str]]:
    owners = None if scene.seg_map is None else scene.instance_map()
    objects = zip(scene.boxes, scene.labels, scene.scores, strict=True)
    for index, (box, label, score) in enumerate(objects):
        share = "" if owners is None else f"{np.mean(owners == index):.1%}"
        yield scene.names[label], f"{score:.2f}", " ".join(f"{edge:.0f}" for edge in box), share


def _region_rows(scene: Scene) -> Iterator[tuple[str, str, str, str]]:
    named = {scene.names[label] for label in scene.labels} | {scene.names[0]}
    for name, share in (scene.pixel_shares() or {}).items():
        if name not in named and share >= MIN_SHARE:
            yield name, "", "", f"{share:.1%}"
