"""Write a run's results, or continue those of an interrupted run."""

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from time import perf_counter
from typing import Any

from PIL import Image

from blitznet.classes import palette_image
from blitznet.errors import InputError, file_errors
from blitznet.files.atomic_write import unfinished_files
from blitznet.files.result_folder import locked
from blitznet.files.save_image import save_image
from blitznet.files.text_files import read_json, write_json
from blitznet.inference.line_file import Record, append_lines, keep_lines
from blitznet.inference.result_names import ResultNames, common_folder
from blitznet.inference.sources import Source, Video, file_of, kind_of
from blitznet.inference.video.decoding import Frame
from blitznet.inference.writers import AddScene
from blitznet.inference.writers.label_formats import LABEL_FORMATS
from blitznet.inference.writers.voc_writer import MAPS_FOLDER
from blitznet.model_files import CheckpointInfo
from blitznet.scene import Scene

PREDICTIONS_FILE = "predictions.jsonl"
VIDEOS_FILE = "videos.json"
SETTINGS_FILE = "settings.json"
MASKS_FOLDER = "masks"
LABELS_FOLDER = "labels"

# Settings on which the label files of all images must agree.
_OF_LABELS = frozenset({"formats", "common_folder"})
# libjpeg's limit (JPEG_MAX_DIMENSION); longer images are drawn as PNG.
_MAX_JPEG_SIDE = 65500


@dataclass(frozen=True, eq=False)
class ResultWriter:
    """Writes results to a folder, each file atomically; see `open_results`.

    Attributes:
        folder: an existing folder.
        draw: whether to write NAME.jpg or NAME.mp4 with boxes and segmentation map.
        save_masks: whether to write masks/NAME.png, class ids with the VOC palette.
        finished: sources of finished images, and of finished videos that are not live.
        videos: records of finished videos, see `VIDEOS_FILE`.
        names: chooses the names of results.
        image_names: names of the images' results, by source.
        append: adds a line to `predictions.jsonl`, after all other files of an image are written.
        label_files: add an image to the label files, each for one format.
    """

    folder: Path
    draw: bool
    save_masks: bool
    finished: set[str]
    videos: list[Record]
    names: ResultNames
    image_names: dict[Source, str]
    append: Callable[[Record], None]
    label_files: list[AddScene]

    def has(self, source: Source) -> bool:
        """Whether an earlier run has finished an image or a video."""
        name = source.name if isinstance(source, Video) else str(file_of(source))
        return name in self.finished

    def path_of(self, record: Record) -> Path | None:
        """Path of the image or video that was drawn for a record, or None."""
        return self.folder / record["drawn"] if record["drawn"] else None

    def write_image(self, source: Source, scene: Scene) -> Record:
        """Draw an image and save its mask; may be called by several threads.

        Args:
            source: the image.
            scene: its prediction, drawn on `scene.image` itself.

        Returns:
            Its line, to pass to `add_image`.
        """
        start, name, record = perf_counter(), self.image_names[source], scene.to_dict()
        if self.draw:
            suffix = "png" if max(scene.size) > _MAX_JPEG_SIDE else "jpg"
            record["drawn"] = f"{name}.{suffix}"
            image = scene.draw(in_place=True)  # saves the memory of a copy
            path = self.folder / record["drawn"]
            save_image(path, image, sync=False, quality=92, subsampling=0)
        self._save_mask(record, scene, name, start)
        return record

    def add_image(self, source: Source, scene: Scene, record: Record) -> None:
        """Add an image's labels, and then its line, after `write_image`."""
        path = self.names.path_of(file_of(source)).as_posix()
        for add in self.label_files:
            add(scene, self.image_names[source], path)
        self.append(record)

    def add_video(self, record: Record) -> None:
        """Add a finished video to `videos.json`."""
        self.videos.append(record)
        write_json(self.folder / VIDEOS_FILE, self.videos)

    def write_frame(
        self, source: str, name: str, frame: Frame, scene: Scene
    ) -> tuple[Image.Image | None, Record]:
        """Draw a frame of a video and save its mask; may be called by several threads.

        Args:
            source: name of the video in its lines.
            name: name of its results.
            frame: index and time of the frame.
            scene: its prediction.

        Returns:
            The drawn frame, or None if `draw` is False, and its line.
        """
        start = perf_counter()
        image = scene.draw() if self.draw else None
        record = {"source": source, "frame": frame.index, "time": round(frame.time, 6)}
        record |= {key: value for key, value in scene.to_dict().items() if key != "source"}
        record["drawn"] = f"{name}.mp4" if self.draw else None
        self._save_mask(record, scene, f"{name}/{frame.index:06}", start)
        return image, record

    def _save_mask(self, record: Record, scene: Scene, name: str, start: float) -> None:
        """Write masks/NAME.png if wanted, and complete the record; writing began at `start`."""
        if self.save_masks and scene.seg_map is not None:
            record["seg_map"] = f"{MASKS_FOLDER}/{name}.png"
            path = self.folder / record["seg_map"]
            save_image(path, palette_image(scene.seg_map), sync=False)
        times = scene.milliseconds | {"write": (perf_counter() - start) * 1000}
        record["ms"] = {stage: round(time, 2) for stage, time in times.items()}


@contextmanager
def open_results(
    folder: Path,
    sources: Sequence[Source],
    info: CheckpointInfo,
    settings: Mapping[str, Any],
    resume: bool,
    mixed: bool,
) -> Iterator[ResultWriter]:
    """Start or resume the results of a run, and name those of all sources.

    Args:
        folder: an existing folder; locked until the end of the block.
        sources: sources of the run, including finished ones.
        info: metadata of the network's file.
        settings: what affects the results, with `draw`, `save_masks` and `formats`.
        resume: whether to keep existing results, except frames of unfinished videos; otherwise they
            are replaced.
        mixed: whether to keep them even if the network or a setting has changed, except those of
            label files.

    Raises:
        InputError: if the network or a setting has changed; if the folder has files, but no results
            to resume; if another process uses it, or writing fails.
    """
    inputs = [file_of(one) for one in sources if not isinstance(one, Video) or one.is_file]
    metadata = info.model_dump_json(include={"model", "names", "metrics", "training"})
    digest = hashlib.blake2b(metadata.encode(), digest_size=6).hexdigest()
    asked: Record = {"model": f"{info.model.name}@{digest}", **settings}
    if asked["formats"]:  # labels hold paths relative to this folder
        asked["common_folder"] = common_folder(inputs)
    asked = json.loads(json.dumps(asked))  # lists instead of tuples, as in the file
    with locked(folder), ExitStack() as stack:
        old: dict[str, str] = {}
        videos: list[Record] = []
        if resume:
            old, videos = _resume(folder, asked, mixed)
        else:
            _remove(folder / PREDICTIONS_FILE, folder / VIDEOS_FILE)
        write_json(folder / SETTINGS_FILE, asked)
        maps = folder / LABELS_FOLDER / "voc" / MAPS_FOLDER
        taken = [*filter(None, old.values()), *(_name_of(one) for one in videos if one["drawn"])]
        names = ResultNames(inputs, (folder, folder / MASKS_FOLDER, maps), taken)
        images = {one: str(file_of(one)) for one in sources if kind_of(one) == "images"}
        given = set(images.values())
        others = {Path(path): path for path in old if path not in given}
        image_names: dict[Source, str] = {}
        labelled = []
        for image, path in (*images.items(), *others.items()):
            image_names[image] = old.get(path) or names.of(Path(path))
            if path in old:
                labelled.append((image_names[image], names.path_of(Path(path)).as_posix()))
        append = stack.enter_context(append_lines(folder / PREDICTIONS_FILE))
        label_files = [
            stack.enter_context(
                LABEL_FORMATS[name](folder / LABELS_FOLDER / name, info.names, labelled)
            )
            for name in asked["formats"]
        ]
        finished = {*old, *(video["source"] for video in videos if not video["live"])}
        yield ResultWriter(
            folder, asked["draw"], asked["save_masks"], finished, videos, names, image_names,
            append, label_files,
        )  # fmt: skip


def _resume(folder: Path, settings: Record, mixed: bool) -> tuple[dict[str, str], list[Record]]:
    """Find the results of an earlier run, and remove what it left unfinished.

    Returns:
        Names of the result files of images by source, empty if an image has no files; and the
        records of videos.
    """
    predictions, recorded = folder / PREDICTIONS_FILE, folder / VIDEOS_FILE
    if (folder / SETTINGS_FILE).is_file():
        if any(path.is_file() and path.stat().st_size for path in (predictions, recorded)):
            _require_same(folder, read_json(folder / SETTINGS_FILE), settings, mixed)
    elif any(folder.iterdir()):
        raise InputError(
            f"{folder}: holds files, but no prediction to resume; name another --out, or use "
            "--overwrite instead"
        )
    videos: list[Record] = read_json(recorded) if recorded.is_file() else []
    whole = {video["source"] for video in videos}
    images = {}
    if predictions.is_file():
        for line in keep_lines(predictions, lambda r: "frame" not in r or r["source"] in whole):
            if "frame" not in line:
                images[line["source"]] = _name_of(line)
    for inner in (folder, *filter(Path.is_dir, folder.rglob("*"))):
        _remove(*unfinished_files(inner))
    return images, videos


def _require_same(folder: Path, before: Record, now: Record, mixed: bool) -> None:
    for key, value in now.items():
        if before.get(key) == value or (mixed and key not in _OF_LABELS):
            continue
        hint = "" if key in _OF_LABELS else ", or add --mixed to keep both"
        raise InputError(
            f"{folder}: its results were made with {key} {_shown(before.get(key))}, "
            f"this run has {_shown(value)}; name another --out{hint}"
        )


def _shown(value: object) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return "none" if value is None else str(value)


def _name_of(record: Record) -> str:
    """Name of the result files in a record; empty if there are none."""
    path = record["drawn"] or (record["seg_map"] or "").partition("/")[2]
    return str(PurePosixPath(path).with_suffix("")) if path else ""


def _remove(*paths: Path) -> None:
    for path in paths:
        with file_errors(path, "removed"):
            path.unlink(missing_ok=True)
