"""The label formats by name."""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

from blitznet.errors import InputError
from blitznet.extras import require
from blitznet.inference.writers import Added, AddScene
from blitznet.inference.writers.coco_writer import coco_labels
from blitznet.inference.writers.voc_writer import voc_labels
from blitznet.inference.writers.yolo_writer import yolo_labels

# Opens a context in which scenes are added. Arguments: a folder, created if missing; the class
# names, background first; and the images that the folder already has.
LabelFormat = Callable[[Path, Sequence[str], Sequence[Added]], AbstractContextManager[AddScene]]
LABEL_FORMATS: dict[str, LabelFormat] = {
    "coco": coco_labels,
    "voc": voc_labels,
    "yolo": yolo_labels,
}


def parse_label_formats(asked: Sequence[str]) -> tuple[str, ...]:
    """Parse names of `LABEL_FORMATS`, without duplicates.

    Args:
        asked: texts with one name or several separated by commas.

    Raises:
        InputError: if there is no such format.
    """
    formats = tuple(dict.fromkeys(name.strip() for part in asked for name in part.split(",")))
    for name in formats:
        if name not in LABEL_FORMATS:
            known = ", ".join(LABEL_FORMATS)
            raise InputError(f"no label format is called {name!r}; choose from {known}")
    return formats


def check_label_formats(formats: Sequence[str], detects: bool, segments: bool) -> None:
    """Check that a network's predictions can be written in these formats.

    Args:
        formats: names of `LABEL_FORMATS`.
        detects: whether the network predicts boxes.
        segments: whether it segments.

    Raises:
        InputError: if the network has nothing to write in a format, or a package is missing.
    """
    for name in formats:
        if not detects and name != "voc":
            raise InputError(
                f"the label format {name} holds boxes, and this network finds none; "
                "use --format voc for its segmentation maps"
            )
    if "coco" in formats and segments:
        require("skimage", "labels", "--format coco")
