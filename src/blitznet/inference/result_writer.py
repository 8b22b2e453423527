"""Write a run's results: drawings, masks, labels, and the lines of predictions.jsonl."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter
from typing import Any

from PIL import Image

from blitznet.classes import palette_image
from blitznet.files.result_folder import locked
from blitznet.files.save_image import save_image
from blitznet.files.text_files import write_json
from blitznet.inference.interrupted_run import (
    PREDICTIONS_FILE,
    VIDEOS_FILE,
    Finished,
    open_results,
)
from blitznet.inference.line_file import Record, append_lines
from blitznet.inference.result_names import ResultNames, common_folder
from blitznet.inference.sources import Source, Video, file_of, kind_of
from blitznet.inference.video.decoding import Frame
from blitznet.inference.writers import AddScene
from blitznet.inference.writers.label_formats import open_label_files
from blitznet.inference.writers.voc_writer import MAPS_FOLDER
from blitznet.model_files import CheckpointInfo
from blitznet.scene import Scene

MASKS_FOLDER = "masks"
LABELS_FOLDER = "labels"

# libjpeg's limit (JPEG_MAX_DIMENSION); longer images are drawn as PNG.
_MAX_JPEG_SIDE = 65500


@dataclass(frozen=True)
class Outputs:
    """Which files to write for each image and video, besides its line.

    Attributes:
        draw: NAME.jpg or NAME.mp4 with boxes and segmentation map.
        save_masks: masks/NAME.png, class ids with the VOC palette.
        formats: labels/FORMAT, see `parse_label_formats`.
    """

    draw: bool = True
    save_masks: bool = False
    formats: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class ResultWriter:
    """Writes results to a folder, each file atomically.

    Attributes:
        folder: an existing folder.
        outputs: which files to write.
        finished: results of an earlier run.
        names: chooses the names of results.
        image_names: names of the images' results, by source.
        append: adds a line to `predictions.jsonl`, after all other files of an image are written.
        add_labels: see `open_label_files`.
    """

    folder: Path
    outputs: Outputs
    finished: Finished
    names: ResultNames
    image_names: dict[Source, str]
    append: Callable[[Record], None]
    add_labels: AddScene

    def has(self, source: Source) -> bool:
        """Whether an earlier run has finished an image or a video."""
        if isinstance(source, Video):
            return source.name in self.finished.recordings
        return str(file_of(source)) in self.finished.images

    def write_image(self, source: Source, scene: Scene) -> Record:
        """Draw an image and save its mask; may be called by several threads.

        Args:
            source: the image.
            scene: its prediction, drawn on `scene.image` itself.

        Returns:
            Its line, to pass to `add_image`.
        """
        start, name, record = perf_counter(), self.image_names[source], scene.to_dict()
        if self.outputs.draw:
            suffix = "png" if max(scene.size) > _MAX_JPEG_SIDE else "jpg"
            record["drawn"] = f"{name}.{suffix}"
            image = scene.draw(in_place=True)  # saves the memory of a copy
            path = self.folder / record["drawn"]
            save_image(path, image, sync=False, quality=92, subsampling=0)
        self._save_mask(record, scene, name)
        record["ms"] = _rounded_times(scene, start)
        return record

    def add_image(self, source: Source, scene: Scene, record: Record) -> None:
        """Add an image's labels, and then its line, after `write_image`."""
        path = self.names.path_of(file_of(source)).as_posix()
        self.add_labels(scene, self.image_names[source], path)
        self.append(record)

    def add_video(self, record: Record) -> None:
        """Add a finished video to `videos.json`."""
        self.finished.videos.append(record)
        write_json(self.folder / VIDEOS_FILE, self.finished.videos)

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
            The drawn frame, or None if `outputs.draw` is False, and its line.
        """
        start = perf_counter()
        image = scene.draw() if self.outputs.draw else None
        record = {"source": source, "frame": frame.index, "time": round(frame.time, 6)}
        record |= {key: value for key, value in scene.to_dict().items() if key != "source"}
        record["drawn"] = f"{name}.mp4" if self.outputs.draw else None
        self._save_mask(record, scene, f"{name}/{frame.index:06}")
        record["ms"] = _rounded_times(scene, start)
        return image, record

    def _save_mask(self, record: Record, scene: Scene, name: str) -> None:
        """Write masks/NAME.png if `outputs.save_masks` is set, and add its path to the record."""
        if self.outputs.save_masks and scene.seg_map is not None:
            record["seg_map"] = f"{MASKS_FOLDER}/{name}.png"
            path = self.folder / record["seg_map"]
            save_image(path, palette_image(scene.seg_map), sync=False)


@contextmanager
def open_result_writer(
    folder: Path,
    outputs: Outputs,
    sources: Sequence[Source],
    info: CheckpointInfo,
    settings: Mapping[str, Any],
    resume: bool,
    mixed: bool,
) -> Iterator[ResultWriter]:
    """Start or resume the results of a run, see `open_results`, and name those of all sources.

    Args:
        folder: an existing folder; locked until the end of the block.
        outputs: which files to write.
        sources: sources of the run, including finished ones.
        info: metadata of the network's file.
        settings: other settings that affect the results.
        resume: whether to keep existing results.
        mixed: whether to keep them even if the network or the settings have changed.

    Raises:
        InputError: see `open_results`; also if another process uses the folder, or writing fails.
    """
    inputs = [file_of(one) for one in sources if not isinstance(one, Video) or one.is_file]
    images = [one for one in sources if kind_of(one) == "images"]
    settings = {**settings, **vars(outputs)}
    if outputs.formats:  # labels hold paths relative to this folder
        settings["common_folder"] = common_folder(inputs)
    maps = folder / LABELS_FOLDER / "voc" / MAPS_FOLDER
    with ExitStack() as stack:
        stack.enter_context(locked(folder))
        finished = open_results(folder, info, settings, resume, mixed)
        names = ResultNames(inputs, (folder, folder / MASKS_FOLDER, maps), finished.names)
        image_names: dict[Source, str] = {}
        done = []
        given = {str(file_of(image)) for image in images}
        for image in [*images, *(Path(path) for path in finished.images if path not in given)]:
            path = file_of(image)
            image_names[image] = finished.images.get(str(path)) or names.of(path)
            if str(path) in finished.images:
                done.append((image_names[image], names.path_of(path).as_posix()))
        append = stack.enter_context(append_lines(folder / PREDICTIONS_FILE))
        labels = open_label_files(folder / LABELS_FOLDER, outputs.formats, info.names, done)
        add_labels = stack.enter_context(labels)
        yield ResultWriter(folder, outputs, finished, names, image_names, append, add_labels)


def _rounded_times(scene: Scene, write_start: float) -> dict[str, float]:
    """Milliseconds of every stage; writing started at `write_start`, a `perf_counter` value."""
    times = scene.milliseconds | {"write": (perf_counter() - write_start) * 1000}
    return {stage: round(time, 2) for stage, time in times.items()}
