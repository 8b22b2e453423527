"""Which label formats there are, and labels in several of them at once."""

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from pathlib import Path

from blitznet.errors import InputError
from blitznet.extras import require
from blitznet.inference.writers import AddScene
from blitznet.inference.writers.coco import coco_labels
from blitznet.inference.writers.voc import voc_labels
from blitznet.inference.writers.yolo import yolo_labels
from blitznet.scene import Scene

# Each is a context in which scenes are added. It receives a folder, which is made if it is not
# there, and the class names, background first.
LABEL_FORMATS: dict[str, Callable[[Path, Sequence[str]], AbstractContextManager[AddScene]]] = {
    "coco": coco_labels,
    "voc": voc_labels,
    "yolo": yolo_labels,
}


def choose_label_formats(asked: Sequence[str], detect: bool, segment: bool) -> tuple[str, ...]:
    """Which of `LABEL_FORMATS` to write, each once.

    Args:
        asked: names, or several separated by commas.
        detect: whether the network finds boxes.
        segment: whether it classifies pixels.

    Raises:
        InputError: if there is no such format, the network has nothing to write in it, or a
            package is missing.
    """
    formats = tuple(dict.fromkeys(name.strip() for part in asked for name in part.split(",")))
    for name in formats:
        if name not in LABEL_FORMATS:
            known = ", ".join(LABEL_FORMATS)
            raise InputError(f"no label format is called {name!r}; there are {known}")
        if not detect and name != "voc":
            raise InputError(
                f"the label format {name} holds boxes, and this network finds none; "
                "use --format voc for its segmentation maps"
            )
    if "coco" in formats and segment:
        require("skimage", "labels", "--format coco")
    return formats


@contextmanager
def open_label_files(
    folder: Path, formats: Sequence[str], names: Sequence[str], images: Sequence[Path]
) -> Iterator[Callable[[Scene, str, Path], None]]:
    """Write labels in several formats, each into a folder of its name.

    Args:
        folder: made if it is not there.
        formats: of `LABEL_FORMATS`, see `choose_label_formats`; may be empty.
        names: class names, background first.
        images: that are going to be added; their paths in the labels begin at the deepest folder
            that holds all of them, or at the root where they lie on several drives.

    Yields:
        Adds a scene, with a name that no other image has, and the image's path.

    Raises:
        InputError: if something cannot be written.
    """
    folders = {path.parent: path.parent.resolve() for path in images}
    try:
        shared = os.path.commonpath(folders.values())
    except ValueError:  # several drives, or no images
        shared = ""
    with ExitStack() as files:
        writers = [
            files.enter_context(LABEL_FORMATS[name](folder / name, names)) for name in formats
        ]

        def add(scene: Scene, name: str, path: Path) -> None:
            if not writers:
                return
            whole = folders[path.parent] / path.name
            label_name = (whole.relative_to(shared) if shared else whole).as_posix()
            for add_to in writers:
                add_to(scene, name, label_name)

        yield add
