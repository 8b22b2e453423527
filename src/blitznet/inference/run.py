"""Pictures in, a folder of results out."""

from collections import Counter
from collections.abc import Generator, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from time import perf_counter
from typing import Any

from blitznet.errors import PictureError
from blitznet.inference.folder_output import ResultFiles, open_results, rounded_times, save_mask
from blitznet.inference.predictor import Predictor
from blitznet.inference.prefetch import map_ahead
from blitznet.scene import Scene
from blitznet.whole_file import whole_file

# Map regions below this share of a picture are not told of.
LEAST_SHARE = 0.01

_WRITERS = 2
# libjpeg's limit (JPEG_MAX_DIMENSION); longer pictures are drawn as PNG.
_MOST_JPEG_SIDE = 65500


@dataclass(frozen=True)
class Result:
    """What was found in one picture and where it was written.

    Attributes:
        scene: the prediction; its picture is the drawn one if one was asked for.
        record: its line of `predictions.jsonl`.
        drawn: the drawn picture, or None if none was asked for.
        name: of its files, without folder and ending; no other picture of the run has it.
    """

    scene: Scene
    record: dict[str, Any]
    drawn: Path | None
    name: str


def predict_to_folder(
    predictor: Predictor,
    pictures: Sequence[Path],
    folder: Path,
    score: float,
    batch: int | None = None,
) -> Generator[tuple[Path, Result | PictureError]]:
    """Predict pictures into a folder of their own; see `open_results` and `predict_pictures`."""
    with open_results(folder, pictures, predictor.names) as files:
        yield from predict_pictures(predictor, pictures, files, score, batch)


def predict_pictures(
    predictor: Predictor,
    pictures: Iterable[Path],
    files: ResultFiles,
    score: float,
    batch: int | None = None,
) -> Generator[tuple[Path, Result | PictureError]]:
    """Predict pictures and write each result before it is given out.

    Args:
        predictor: a loaded network.
        pictures: files, taken ahead of the results.
        files: of the run.
        score: least score of an object, 0..1.
        batch: pictures a forward pass; None = what suits the device.

    Yields:
        Every picture, in order, with its result or the reason why it could not be read.

    Raises:
        InputError: if something cannot be written.
    """
    stream = predictor.predict_stream(pictures, score, batch)
    named = ((path, scene, files.free_name(path.stem)) for path, scene in stream)
    for path, result in map_ahead(partial(_save, files), named, _WRITERS):
        _note(files, path, result)
        yield path, result


def predict_as_they_come(
    predictor: Predictor, pictures: Iterable[Path], files: ResultFiles, score: float
) -> Generator[tuple[Path, Result | PictureError]]:
    """As `predict_pictures`, each picture done before the next one is asked for."""
    for path in pictures:
        try:
            scene: Scene | PictureError = predictor.predict(path, score)
        except PictureError as error:
            scene = error
        _, result = _save(files, (path, scene, files.free_name(path.stem)))
        _note(files, path, result)
        yield path, result


def _note(files: ResultFiles, path: Path, result: Result | PictureError) -> None:
    if isinstance(result, Result):
        files.add_record(result.record)
        files.add_labels(result.scene, result.name, path)


def _save(
    files: ResultFiles, item: tuple[Path, Scene | PictureError, str]
) -> tuple[Path, Result | PictureError]:
    path, scene, name = item
    if isinstance(scene, PictureError):
        return path, scene
    start = perf_counter()
    record = scene.to_dict()
    drawn = None
    if files.draw:
        is_too_long = max(scene.size) > _MOST_JPEG_SIDE
        drawn = files.folder / (f"{name}.png" if is_too_long else f"{name}.jpg")
        with whole_file(drawn) as temporary:
            image_format = "PNG" if is_too_long else "JPEG"
            picture = scene.draw(in_place=True)  # the copy of a huge picture is huge, too
            picture.save(temporary, format=image_format, quality=92, subsampling=0)
    if files.save_masks:
        record["seg_map"] = save_mask(scene, files.folder, name)
    record["ms"] = rounded_times(scene, start)
    return path, Result(scene, record, drawn, name)


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
