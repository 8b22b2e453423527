"""The layout of Ultralytics' YOLO: data.yaml, a list of images, a file of boxes for each."""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from blitznet.inference.writers import AddScene
from blitznet.result_folder import ensure_folder
from blitznet.scene import Scene
from blitznet.whole_file import whole_file

DATA_FILE = "data.yaml"
LIST_FILE = "train.txt"
SUBSET = "train"


@contextmanager
def yolo_labels(folder: Path, names: Sequence[str]) -> Iterator[AddScene]:
    """Write data.yaml, labels/train/NAME.txt for every image, and train.txt, which lists them.

    See `AddScene`. The images belong into images/train under the names that the list has. Rows
    are boxes, whether the network segments or not: Ultralytics reads files of boxes or files of
    polygons, and an object without pixels has no polygon.

    Args:
        folder: made if it is not there.
        names: class names, background first; YOLO has none and counts from the next one.

    Raises:
        InputError: if something cannot be written.
    """
    import yaml

    labels = ensure_folder(folder / "labels" / SUBSET)
    data = {SUBSET: LIST_FILE, "names": dict(enumerate(names[1:]))}
    with whole_file(folder / DATA_FILE) as temporary:
        text = yaml.safe_dump(data, sort_keys=False, allow_unicode=True)
        temporary.write_text(text, encoding="utf-8")
    with (
        whole_file(folder / LIST_FILE) as temporary,
        temporary.open("w", encoding="utf-8", errors="surrogateescape") as images,
    ):

        def add(scene: Scene, name: str, file_name: str) -> None:
            with whole_file(labels / f"{name}.txt") as temporary:
                temporary.write_text("".join(rows(scene)), encoding="utf-8")
            images.write(f"./images/{SUBSET}/{name}{PurePosixPath(file_name).suffix}\n")

        yield add


def rows(scene: Scene) -> Iterator[str]:
    """A line an object: class from 0, then centre and size as fractions of the image."""
    width, height = scene.size
    for (x1, y1, x2, y2), label in zip(scene.boxes.tolist(), scene.labels.tolist(), strict=True):
        values = (
            (x1 + x2) / 2 / width,
            (y1 + y2) / 2 / height,
            (x2 - x1) / width,
            (y2 - y1) / height,
        )
        yield f"{label - 1} {' '.join(f'{value:.6f}' for value in values)}\n"
