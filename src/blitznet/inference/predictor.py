"""Predict images of any type and size with a trained network."""

import os
from collections.abc import Generator, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeVar, Unpack, get_args, overload

import numpy as np
from PIL import Image

from blitznet.cpu import usable_cores
from blitznet.detections import Detections
from blitznet.errors import ImageError, InputError, require_numbers, shown
from blitznet.image import (
    MAX_PIXELS,
    ImageSource,
    read_image,
    resize_to_input,
    source_name,
    stored_size,
)
from blitznet.inference.engines.choose import AUTO, open_engine, report
from blitznet.inference.engines.engine import Engine, OnMessage
from blitznet.inference.engines.openvino_engine import Hint
from blitznet.inference.inputs import as_image, several_images, stream_name
from blitznet.inference.prefetch import prefetch
from blitznet.inference.selection import DEFAULT_SCORE, Selection, Selector, Wanted
from blitznet.inference.video.decoding import Frame
from blitznet.inference.video.open_video import open_video
from blitznet.inference.video.predict_frames import VideoOptions, predict_frames
from blitznet.model_files import ExportInfo
from blitznet.scene import Scene

if TYPE_CHECKING:
    from blitznet.inference.inputs import ImageInput

# Default images per forward pass: a GPU needs several to be fully used, a CPU does not.
_BATCH_ON_CPU, _BATCH_ON_GPU = 1, 8
_MAX_READERS = 4
# Maximum pixels that wait before, in and after the network, each: 64 million take 200 MB as RGB.
_HELD_PIXELS = 64_000_000

Source = TypeVar("Source")


def load(
    name_or_path: str | os.PathLike[str] | None = None,
    device: str = AUTO,
    engine: str | None = None,
    *,
    hint: Hint = "latency",
    threads: int | None = None,
    on_message: OnMessage | None = None,
) -> "Predictor":
    """Load a trained network.

    Args:
        name_or_path: a bundled network's name, a training run's folder, an exported file, or a
            checkpoint (which needs PyTorch); None = the default one.
        device: `auto`, `cpu`, `cuda` or `cuda:N`.
        engine: one of `blitznet.inference.engines.choose.ENGINES`, or `auto` for the fastest one
            installed; None = the value of BLITZNET_ENGINE, else `auto`.
        hint: what OpenVINO optimises: one image (`latency`) or many (`throughput`).
        threads: threads of the engine on a CPU; None = its default.
        on_message: receives lines about progress and problems; None = problems are warnings.

    Raises:
        CheckpointError: if there is no such network, or the file is unusable.
        InputError: if device, engine or hint does not exist, or a package is missing.
    """
    require_numbers(1, threads=threads)
    if hint not in get_args(Hint):
        raise InputError(f"a hint is {' or '.join(get_args(Hint))}, not {shown(hint)}")
    opened = open_engine(
        name_or_path, engine, device, hint=hint, threads=threads, on_message=on_message
    )
    if isinstance(opened.info, ExportInfo) and opened.info.caution is not None:
        report(f"{opened.name}: {opened.info.caution}", on_message)
    return Predictor(opened, max(2, min(8, usable_cores())) if hint == "throughput" else 2)


@dataclass(frozen=True)
class _Input:
    """An image and the network's input, (S, S, 3) uint8 RGB."""

    image: Image.Image
    pixels: np.ndarray
    source: str | None
    read_ms: float


# A source, and its decoded image or the error.
_Read = tuple[Source, _Input | ImageError]


class Predictor:
    """A network and the engine that runs it. As a context manager, it closes the engine.

    Attributes:
        engine: runs the network; see `engine.name` and `engine.device`.
        info: metadata of the network's file.
        names: class names, background first.
        max_pixels: larger images are rejected before decoding.
    """

    max_pixels: int = MAX_PIXELS

    def __init__(self, engine: Engine, at_once: int = 2) -> None:
        """Process up to `at_once` batches of a stream at a time, one of them in the network."""
        self.engine = engine
        self.info = engine.info
        self.names = engine.info.names
        self._at_once = at_once
        self._is_closed = False

    def __enter__(self) -> "Predictor":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Release the engine's threads and memory; a second call does nothing."""
        if not self._is_closed:
            self._is_closed = True
            self.engine.close()

    def __repr__(self) -> str:
        model = self.info.model
        return f"Predictor({model.name}, {len(self.names) - 1} classes, on {self.engine.name})"

    @property
    def detects(self) -> bool:
        """Whether scenes have objects: the network detects, and was trained with boxes."""
        return self.info.model.detect and self.info.supervised_boxes != []

    @property
    def segments(self) -> bool:
        """Whether scenes have a segmentation map: the network segments, and was trained to."""
        return self.info.model.segment and self.info.supervised_masks != []

    @overload
    def predict(
        self, source: "ImageInput", score: float = ..., batch: int | None = ...,
        **wanted: Unpack[Wanted],
    ) -> Scene: ...  # fmt: skip
    @overload
    def predict(
        self, source: Sequence[Any] | Iterator[Any], score: float = ..., batch: int | None = ...,
        **wanted: Unpack[Wanted],
    ) -> list[Scene]: ...  # fmt: skip
    def predict(
        self,
        source: "ImageInput | Sequence[Any] | Iterator[Any]",
        score: float = DEFAULT_SCORE,
        batch: int | None = None,
        *,
        classes: Sequence[str] | None = None,
        iou: float | None = None,
        max_detections: int | None = None,
    ) -> Scene | list[Scene]:
        """Predict one image or several.

        Args:
            source: one image: a path, the content of a file as bytes or as an open file, a PIL
                image, a uint8 array (H, W, 3) RGB, (H, W, 4) RGBA or (H, W) grey, or a tensor
                (3, H, W), uint8 or 0..1. OpenCV's arrays are BGR: pass `image[..., ::-1]`.
                Several images: a list or an iterator of these, an array (N, H, W, 3), a tensor
                (N, 3, H, W), a folder, or a pattern such as `trip/*.jpg`. For very many, use
                `predict_stream`, which does not keep them all in memory.
            score: minimum score of an object, 0..1.
            batch: images per forward pass; None = 1 on a CPU, 8 on a GPU.
            classes: names of the classes to show; pixels of others become background. None = all.
            iou: NMS threshold, the maximum IoU of two objects of a class; None = the threshold that
                the network was exported with, 0.45.
            max_detections: maximum objects per image, the best ones; None = all.

        Returns:
            A scene, or a list of scenes for several images.

        Raises:
            ImageError: for the first image that cannot be read.
            InputError: if the network lacks a class, or was exported with a lower `iou`, or a
                number is out of range.
            TypeError: for an object that is not an image.
        """
        selection = Selection(score, classes, iou, max_detections)
        several = several_images(source)
        if several is None:  # without threads
            self._batch_size(batch)
            read = self._read((source, as_image(source)))
            results = iter(self._predict_group([read], Selector(self.info, selection)))
        else:
            results = self.predict_stream(several, batch=batch, **vars(selection))
        scenes = []
        for _, result in results:
            if isinstance(result, ImageError):
                raise result
            scenes.append(result)
        return scenes[0] if several is None else scenes

    def predict_stream(
        self,
        sources: Iterable[Source],
        score: float = DEFAULT_SCORE,
        batch: int | None = None,
        **wanted: Unpack[Wanted],
    ) -> Iterator[tuple[Source, Scene | ImageError]]:
        """Predict a stream of images like `predict`, in bounded memory.

        Images are decoded ahead in threads. Post-processing runs while the network processes the
        next images.

        Args:
            sources: one image each, see `predict`; consumed lazily.
            score: see `predict`.
            batch: see `predict`.
            wanted: `classes`, `iou` and `max_detections` of `predict`.

        Yields:
            Every source in order, with its scene, or with the error if it could not be read.

        Raises:
            TypeError: for a source that is not an image.
        """
        selection = Selection(score, **wanted)
        selector, size = Selector(self.info, selection), self._batch_size(batch)
        readers = min(_MAX_READERS, usable_cores())
        images = ((source, as_image(source)) for source in sources)
        groups = _groups(prefetch(self._read, images, readers, weigh=self._weigh), size)
        predict = partial(self._predict_group, selector=selector)
        for results in prefetch(predict, groups, self._at_once, weigh=_weigh_group):
            yield from results
            del results  # free them before the next ones are decoded

    def predict_video(
        self,
        source: str | os.PathLike[str] | int,
        score: float = DEFAULT_SCORE,
        batch: int | None = None,
        track: bool = False,
        **wanted: Unpack[Wanted],
    ) -> Generator[tuple[Frame, Scene]]:
        """Predict a video, camera or stream frame by frame.

        Args:
            source: a video file, a camera's number, or a URL (rtsp, http, ...).
            score: see `predict`.
            batch: frames per forward pass of a recording; None = 1 on a CPU, 8 on a GPU.
            track: whether to track objects across frames, see `scene.ids`.
            wanted: `classes`, `iou` and `max_detections` of `predict`.

        Yields:
            Frames, with `time` in seconds and `index`, and their scenes: all frames of a recording;
            for a live source, the latest frame whenever the network is free.

        Raises:
            InputError: if the source cannot be opened, or a package is missing.
        """
        selection = Selection(score, **wanted)
        with closing(open_video(str(source))) as video:
            yield from predict_frames(self, video, selection, batch, VideoOptions(track=track))

    def _batch_size(self, batch: int | None) -> int:
        """Check the batch size, or choose it by device."""
        require_numbers(1, batch=batch)
        return batch or (_BATCH_ON_CPU if self.engine.device == "cpu" else _BATCH_ON_GPU)

    def _weigh(self, item: tuple[object, ImageSource]) -> float:
        """Weight of an image for `prefetch`; 0 above the limit, because it is not decoded."""
        width, height = stored_size(item[1])
        return 0.0 if width * height > self.max_pixels else weight_of((width, height))

    def _read(self, item: tuple[Source, ImageSource]) -> _Read[Source]:
        """Read an image; called in threads."""
        start = perf_counter()
        source, given = item
        name = source_name(given) if given is source else stream_name(source)
        try:
            image = read_image(given, self.max_pixels)
            pixels = resize_to_input(image, self.info.model.image_size)
        except ImageError as error:
            return source, error
        except TypeError:  # not an image
            raise
        except Exception as error:  # noqa: BLE001 - one image must not end the stream
            return source, ImageError(f"{name}: cannot be read ({type(error).__name__}: {error})")
        return source, _Input(image, pixels, name, _ms_since(start))

    def _predict_group(
        self, group: list[_Read[Source]], selector: Selector
    ) -> list[tuple[Source, Scene | ImageError]]:
        inputs = [read for _, read in group if isinstance(read, _Input)]
        if not inputs:
            return [(source, read) for source, read in group if isinstance(read, ImageError)]
        if self._is_closed:
            raise RuntimeError("the predictor is closed; load the network again")
        start, wanted = perf_counter(), selector.selection
        pixels = np.stack([one.pixels for one in inputs])
        output = self.engine.run(pixels, wanted.score, wanted.iou)
        network_ms = _ms_since(start) / len(inputs)
        scenes = []
        for index, one in enumerate(inputs):
            start = perf_counter()
            detections, seg_map = selector.apply(output, index, *one.image.size)
            boxes, labels, scores = detections or Detections.none()
            times = {"read": one.read_ms, "network": network_ms, "post": _ms_since(start)}
            scenes.append(
                Scene(boxes, labels, scores, seg_map, self.names, one.image, one.source, times)
            )
        done = iter(scenes)
        return [
            (source, read if isinstance(read, ImageError) else next(done)) for source, read in group
        ]


def weight_of(size: tuple[int, int]) -> float:
    """Weight of an image for `prefetch`, from its width and height."""
    return size[0] * size[1] / _HELD_PIXELS


def _weigh_group(group: list[_Read[Source]]) -> float:
    return sum(weight_of(read.image.size) for _, read in group if isinstance(read, _Input))


def _groups(items: Iterable[_Read[Source]], size: int) -> Iterator[list[_Read[Source]]]:
    """Group up to `size` images, or fewer if they are large."""
    group: list[_Read[Source]] = []
    for item in items:
        group.append(item)
        del item
        if len(group) == size or _weigh_group(group) >= 1:
            yield group
            group = []
    if group:
        yield group


def _ms_since(start: float) -> float:
    return (perf_counter() - start) * 1000
