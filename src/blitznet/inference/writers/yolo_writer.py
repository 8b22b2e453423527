"""Write Ultralytics' YOLO layout: data.yaml, a list of images, and a file of boxes per image."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from blitznet.files.text_files import write_text
from blitznet.inference.writers import Added, AddScene
from blitznet.scene import Scene

DATA_FILE = "data.yaml"
LIST_FILE = "train.txt"
SUBSET = "train"


@contextmanager
def yolo_labels(
    folder: Path, names: Sequence[str], before: Sequence[Added] = ()
) -> Iterator[AddScene]:
    """Write data.yaml, labels/train/NAME.txt for every image, and train.txt, which lists them.

    See `LABEL_FORMATS`. The images belong in images/train, with the names in the list. Rows are
    boxes even if the network segments: Ultralytics reads either boxes or polygons, and an object
    without pixels has no polygon. Classes count from 0, without background.

    Raises:
        InputError: if a file cannot be written.
    """
    import yaml

    data = {SUBSET: LIST_FILE, "names": dict(enumerate(names[1:]))}
    write_text(folder / DATA_FILE, yaml.safe_dump(data, sort_keys=False, allow_unicode=True))
    listed = list(before)

    def add(scene: Scene, name: str, file_name: str) -> None:
        write_text(folder / "labels" / SUBSET / f"{name}.txt", "".join(rows(scene)), sync=False)
        listed.append((name, file_name))

    yield add
    lines = (f"./images/{SUBSET}/{name}{PurePosixPath(path).suffix}\n" for name, path in listed)
    write_text(folder / LIST_FILE, "".join(lines), "surrogateescape")


def rows(scene: Scene) -> Iterator[str]:
    """Yield a line per object: class from 0, then centre and size as fractions of the image."""
    width, height = scene.size
    for (x1, y1, x2, y2), label in zip(scene.boxes.tolist(), scene.labels.tolist(), strict=True):
        centre = f"{(x1 + x2) / 2 / width:.6f} {(y1 + y2) / 2 / height:.6f}"
        yield f"{label - 1} {centre} {(x2 - x1) / width:.6f} {(y2 - y1) / height:.6f}\n"
