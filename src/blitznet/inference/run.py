"""One run of `blitznet predict`: pictures in, a folder of results out."""

import json
import os
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from contextlib import AbstractContextManager, ExitStack
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from blitznet.classes import palette_image
from blitznet.errors import InputError, PictureError
from blitznet.extras import require
from blitznet.inference.ahead import map_ahead
from blitznet.inference.label_formats.coco import coco_labels
from blitznet.inference.label_formats.label_writer import AddScene
from blitznet.inference.label_formats.voc import MAPS_FOLDER, voc_labels
from blitznet.inference.label_formats.yolo import yolo_labels
from blitznet.inference.predictor import Predictor
from blitznet.inference.scene import Scene
from blitznet.whole_file import whole_file

PREDICTIONS_FILE = "predictions.jsonl"
MASKS_FOLDER = "masks"
LABELS_FOLDER = "labels"

# Of labels/FORMAT in the folder of a run; each is given the folder and the class names.
LABEL_FORMATS: dict[str, Callable[[Path, Sequence[str]], AbstractContextManager[AddScene]]] = {
    "coco": coco_labels,
    "voc": voc_labels,
    "yolo": yolo_labels,
}

# Map regions below this share of a picture are not told of.
LEAST_SHARE = 0.01

_WRITERS = 2
# libjpeg's limit (JPEG_MAX_DIMENSION); longer pictures are drawn as PNG.
_MOST_JPEG_SIDE = 65500


@dataclass(frozen=True)
class Result:
    """What was found in one picture and where it was written.

    Attributes:
        scene: the prediction.
        record: its line of `predictions.jsonl`.
        drawn: the drawn picture, or None if none was asked for.
        name: of its files, without folder and ending; no other picture of the run has it.
    """

    scene: Scene
    record: dict[str, Any]
    drawn: Path | None
    name: str


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


def predict_to_folder(
    predictor: Predictor,
    pictures: Sequence[Path],
    folder: Path,
    score: float,
    batch: int | None = None,
    draw: bool = True,
    save_masks: bool = False,
    label_formats: Sequence[str] = (),
) -> Generator[tuple[Path, Result | PictureError]]:
    """Predict pictures and write each result before it is given out.

    Every file appears complete or not at all; `predictions.jsonl`, with a line for every picture
    that could be read, appears when the last one is done.

    Args:
        predictor: a loaded network.
        pictures: files.
        folder: exists; files of the same names are replaced, except the pictures themselves.
        score: least score of an object, 0..1.
        batch: pictures a forward pass; None = what suits the device.
        draw: whether to write NAME.jpg with boxes and map.
        save_masks: whether to write masks/NAME.png, class ids with the VOC palette.
        label_formats: of `LABEL_FORMATS`, see `choose_label_formats`; written to labels/FORMAT.

    Yields:
        Every picture, in order, with its result or the reason why it could not be read.

    Raises:
        InputError: if something cannot be written.
    """
    if save_masks:
        _make_masks_folder(folder / MASKS_FOLDER)
    free_name = _namer(folder, pictures)

    def save(
        item: tuple[Path, Scene | PictureError, str],
    ) -> tuple[Path, Result | PictureError]:
        path, scene, name = item
        if isinstance(scene, PictureError):
            return path, scene
        return path, _save(scene, folder, name, draw, save_masks)

    stream = predictor.predict_stream(pictures, score, batch)
    named = ((path, scene, free_name(path.stem)) for path, scene in stream)
    label_name = _label_namer(pictures)
    with (
        whole_file(folder / PREDICTIONS_FILE) as temporary,
        temporary.open("w", encoding="utf-8") as lines,
        ExitStack() as label_files,
    ):
        writers = [
            label_files.enter_context(
                LABEL_FORMATS[name](folder / LABELS_FOLDER / name, predictor.names)
            )
            for name in label_formats
        ]
        for path, result in map_ahead(save, named, _WRITERS):
            if isinstance(result, Result):
                lines.write(json.dumps(result.record) + "\n")
                for add in writers:
                    add(result.scene, result.name, label_name(path))
            yield path, result


def _make_masks_folder(folder: Path) -> None:
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
    except ValueError:
        return lambda path: path.absolute().as_posix()
    return lambda path: (folders[path.parent] / path.name).relative_to(shared).as_posix()


def _save(scene: Scene, folder: Path, name: str, draw: bool, save_masks: bool) -> Result:
    start = perf_counter()
    record = scene.to_dict()
    drawn = None
    if draw:
        is_too_long = max(scene.size) > _MOST_JPEG_SIDE
        drawn = folder / (f"{name}.png" if is_too_long else f"{name}.jpg")
        with whole_file(drawn) as temporary:
            image_format = "PNG" if is_too_long else "JPEG"
            scene.draw().save(temporary, format=image_format, quality=92, subsampling=0)
    if save_masks and scene.seg_map is not None:
        record["seg_map"] = f"{MASKS_FOLDER}/{name}.png"
        with whole_file(folder / record["seg_map"]) as temporary:
            palette_image(scene.seg_map).save(temporary, format="PNG")
    times = scene.milliseconds | {"write": (perf_counter() - start) * 1000}
    record["ms"] = {stage: round(time, 2) for stage, time in times.items()}
    return Result(scene, record, drawn, name)


def describe(scene: Scene) -> str:
    """What was found, in one line: `2 x person, 1 x dog; pixels 31% person, 12% dog`."""
    counts = Counter(scene.names[label] for label in scene.labels)
    objects = ", ".join(f"{count} x {name}" for name, count in counts.items()) or "no objects"
    shares = (scene.pixel_shares() or {}).items()
    regions = [
        f"{share:.0%} {name}"
        for name, share in shares
        if name != scene.names[0] and share >= LEAST_SHARE
    ]
    return f"{objects}; pixels {', '.join(regions)}" if regions else objects
