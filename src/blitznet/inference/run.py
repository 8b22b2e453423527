"""One run of `blitznet predict`: pictures in, a folder of results out."""

import json
from collections import Counter
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from PIL import Image

from blitznet.classes import voc_palette
from blitznet.errors import InputError, PictureError
from blitznet.inference.ahead import map_ahead
from blitznet.inference.predictor import Predictor
from blitznet.inference.scene import Scene
from blitznet.whole_file import whole_file

PREDICTIONS_FILE = "predictions.jsonl"
MASKS_FOLDER = "masks"

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
    """

    scene: Scene
    record: dict[str, Any]
    drawn: Path | None


def predict_to_folder(
    predictor: Predictor,
    pictures: Sequence[Path],
    folder: Path,
    score: float,
    batch: int | None = None,
    draw: bool = True,
    save_masks: bool = False,
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
    with (
        whole_file(folder / PREDICTIONS_FILE) as temporary,
        temporary.open("w", encoding="utf-8") as lines,
    ):
        for path, result in map_ahead(save, named, _WRITERS):
            if isinstance(result, Result):
                lines.write(json.dumps(result.record) + "\n")
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
    ours = {folder.resolve(), folder.resolve() / MASKS_FOLDER}
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
        mask = Image.fromarray(scene.seg_map)
        mask.putpalette(voc_palette().tobytes())
        with whole_file(folder / record["seg_map"]) as temporary:
            mask.save(temporary, format="PNG")
    times = scene.milliseconds | {"write": (perf_counter() - start) * 1000}
    record["ms"] = {stage: round(time, 2) for stage, time in times.items()}
    return Result(scene, record, drawn)


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
