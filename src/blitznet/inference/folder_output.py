"""The files that all sources of one run of `blitznet predict` share."""

import json
import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from blitznet.classes import palette_image
from blitznet.errors import InputError
from blitznet.extras import require
from blitznet.inference.writers.coco import coco_labels
from blitznet.inference.writers.label_writer import AddScene
from blitznet.inference.writers.voc import MAPS_FOLDER, voc_labels
from blitznet.inference.writers.yolo import yolo_labels
from blitznet.scene import Scene
from blitznet.whole_file import whole_file

PREDICTIONS_FILE = "predictions.jsonl"
VIDEOS_FILE = "videos.json"
MASKS_FOLDER = "masks"
LABELS_FOLDER = "labels"

# Of labels/FORMAT in the folder of a run; each is given the folder and the class names.
LABEL_FORMATS: dict[str, Callable[[Path, Sequence[str]], AbstractContextManager[AddScene]]] = {
    "coco": coco_labels,
    "voc": voc_labels,
    "yolo": yolo_labels,
}


def choose_label_formats(asked: Sequence[str], detect: bool, segment: bool) -> tuple[str, ...]:
    """Which of `LABEL_FORMATS` to write, each once.

    Args:
        asked: names, or several with commas between.
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
                "use --format voc for its maps"
            )
    if "coco" in formats and segment:
        require("skimage", "labels", "outlines in COCO's format")
    return formats


@dataclass(frozen=True)
class ResultFiles:
    """What a run writes into, while it is open.

    Attributes:
        folder: of the run.
        draw: whether drawn pictures and videos are wanted.
        save_masks: whether masks are wanted.
        free_name: gives out a name for the files of one source.
        add_record: writes a line of `predictions.jsonl`.
        add_labels: writes a scene, of a name and a path, in the label formats.
        videos: records of the videos that are done.
    """

    folder: Path
    draw: bool
    save_masks: bool
    free_name: Callable[[str], str]
    add_record: Callable[[dict[str, Any]], None]
    add_labels: Callable[[Scene, str, Path], None]
    videos: list[dict[str, Any]]


@contextmanager
def open_results(
    folder: Path,
    inputs: Sequence[Path],
    names: Sequence[str],
    draw: bool = True,
    save_masks: bool = False,
    label_formats: Sequence[str] = (),
) -> Iterator[ResultFiles]:
    """Open the files that all sources of a run share.

    Every file appears complete or not at all: `predictions.jsonl`, with a line for every picture
    and frame that could be read, and `videos.json`, if there were videos, when the block ends well.

    Args:
        folder: exists; files of the same names are replaced, except the inputs themselves.
        inputs: files that are going to be read.
        names: of the classes, background first.
        draw: whether to draw boxes and maps.
        save_masks: whether to write masks/NAME.png, class ids with the VOC palette.
        label_formats: of `LABEL_FORMATS`, see `choose_label_formats`; written to labels/FORMAT.

    Raises:
        InputError: if something cannot be written.
    """
    if save_masks:
        make_masks_folder(folder / MASKS_FOLDER)
    label_name = _label_namer(inputs)
    videos: list[dict[str, Any]] = []
    with (
        whole_file(folder / PREDICTIONS_FILE) as temporary,
        temporary.open("w", encoding="utf-8") as lines,
        ExitStack() as label_files,
    ):
        writers = [
            label_files.enter_context(LABEL_FORMATS[name](folder / LABELS_FOLDER / name, names))
            for name in label_formats
        ]

        def add_record(record: dict[str, Any]) -> None:
            lines.write(json.dumps(record) + "\n")

        def add_labels(scene: Scene, name: str, path: Path) -> None:
            for add in writers:
                add(scene, name, label_name(path))

        free_name = _namer(folder, inputs)
        yield ResultFiles(folder, draw, save_masks, free_name, add_record, add_labels, videos)
    if videos:
        with whole_file(folder / VIDEOS_FILE) as temporary:
            temporary.write_text(json.dumps(videos, indent=2) + "\n", encoding="utf-8")


def make_masks_folder(folder: Path) -> None:
    """Raises InputError if it cannot be made."""
    try:
        folder.mkdir(exist_ok=True)
    except OSError as error:
        raise InputError(f"{folder}: cannot be written ({error.strerror})") from error


def _namer(folder: Path, pictures: Sequence[Path]) -> Callable[[str], str]:
    """Gives out each name once, whatever its case: `cat`, `cat-2`, ...

    Names of pictures that lie in the folder itself are never given out: no input is replaced.
    """
    folder = folder.resolve()
    ours = {folder, folder / MASKS_FOLDER, folder / LABELS_FOLDER / "voc" / MAPS_FOLDER}
    parents = {path.parent for path in pictures}
    inside = {parent for parent in parents if parent.resolve() in ours}
    taken = {path.stem.casefold() for path in pictures if path.parent in inside}

    def free_name(stem: str) -> str:
        name, number = stem, 1
        while name.casefold() in taken:
            number += 1
            name = f"{stem}-{number}"
        taken.add(name.casefold())
        return name

    return free_name


def _label_namer(pictures: Sequence[Path]) -> Callable[[Path], str]:
    """Names a picture by its path in the deepest folder that holds all of them.

    On several drives there is none; the whole path names it then.
    """
    folders = {path.parent: path.parent.resolve() for path in pictures}
    try:
        shared = os.path.commonpath(folders.values())
    except ValueError:  # also where there are no pictures
        return lambda path: path.absolute().as_posix()
    return lambda path: (folders[path.parent] / path.name).relative_to(shared).as_posix()


def save_mask(scene: Scene, folder: Path, name: str) -> str | None:
    """Write masks/NAME.png, and return its path in `folder`; None if the network has no maps."""
    if scene.seg_map is None:
        return None
    path = f"{MASKS_FOLDER}/{name}.png"
    with whole_file(folder / path) as temporary:
        palette_image(scene.seg_map).save(temporary, format="PNG")
    return path


def rounded_times(scene: Scene, write_start: float) -> dict[str, float]:
    """Milliseconds of every stage; `write_start`, of `perf_counter`, is when writing began."""
    times = scene.milliseconds | {"write": (perf_counter() - write_start) * 1000}
    return {stage: round(time, 2) for stage, time in times.items()}
