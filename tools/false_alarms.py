"""Count false detections on photos that show none of VOC's classes.

python tools/false_alarms.py MODEL ... --out results/false_alarms.json

The photos come with scikit-image and scikit-learn: pip install scikit-image scikit-learn.
"""

from importlib.util import find_spec
from pathlib import Path
from statistics import fmean
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.table import Table

from blitznet import Predictor, load
from blitznet.files.text_files import write_json

# By package and folder. No photo shows a person, an animal, a vehicle or another class of VOC.
PHOTOS = {
    ("skimage", "data"): (
        "brick.png", "cell.png", "clock_motion.png", "coffee.png", "coins.png", "grass.png",
        "gravel.png", "hubble_deep_field.jpg", "ihc.png", "microaneurysms.png", "moon.png",
        "page.png", "retina.jpg", "rocket.jpg", "text.png",
    ),
    ("sklearn", "datasets/images"): ("china.jpg", "flower.jpg"),
}  # fmt: skip
SCORE = 0.5


def false_alarms(models: list[str], out: Annotated[Path | None, typer.Option()] = None) -> None:
    """Print a table with one row per network, and write the figures of every photo to a file."""
    photos = find_photos()
    table = Table("network", "objects per photo", "photos with objects", "foreground pixels")
    figures = {}
    for name in models:
        with load(name) as network:
            by_photo = {photo.name: look_at(network, photo) for photo in photos}
        figures[name] = by_photo
        counts = [len(photo["objects"]) for photo in by_photo.values()]
        foreground = fmean(photo["foreground"] for photo in by_photo.values())
        found = sum(count > 0 for count in counts)
        table.add_row(
            name, f"{fmean(counts):.2f}", f"{found} of {len(photos)}", f"{foreground:.1%}"
        )
    Console().print(table)
    if out is not None:
        write_json(out, {"score": SCORE, "networks": figures})


def find_photos() -> list[Path]:
    """The photos in the installed packages."""
    found = []
    for (package, folder), names in PHOTOS.items():
        spec = find_spec(package)
        if spec is None or spec.origin is None:
            raise SystemExit("run: pip install scikit-image scikit-learn")
        found += [Path(spec.origin).parent / folder / name for name in names]
    return found


def look_at(network: Predictor, photo: Path) -> dict[str, Any]:
    """Objects as pairs of class and score, and the share of foreground pixels."""
    scene = network.predict(photo, score=SCORE)
    pairs = zip(scene.labels.tolist(), scene.scores.tolist(), strict=True)
    objects = [[scene.names[label], round(score, 3)] for label, score in pairs]
    assert scene.seg_map is not None, "the network must segment"
    return {"objects": objects, "foreground": round(float((scene.seg_map != 0).mean()), 4)}


if __name__ == "__main__":
    typer.run(false_alarms)
