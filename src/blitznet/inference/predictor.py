"""A trained network that takes pictures of any kind and size."""

import os
from collections.abc import Generator, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass
from itertools import islice
from time import perf_counter
from typing import TYPE_CHECKING, Any, TypeVar, overload

import numpy as np
import torch
from PIL import Image

from blitznet.detection.postprocess import decode_detections
from blitznet.device import choose_device
from blitznet.errors import PictureError
from blitznet.inference.ahead import map_ahead
from blitznet.inference.scene import Scene
from blitznet.model.blitznet import BlitzNet, normalize_images
from blitznet.model.checkpoint import (
    CheckpointInfo,
    default_model,
    find_checkpoint,
    load_checkpoint,
)
from blitznet.picture import PictureSource, read_picture, source_name
from blitznet.pixel_classes import classify_pixels
from blitznet.structures import Detections, RawPredictions

if TYPE_CHECKING:
    from blitznet.inference.streams.frame import Frame

DEFAULT_SCORE = 0.5

# Pictures a forward pass where none are asked for: a GPU needs several to be busy, a CPU does not.
_BATCH_ON_CPU, _BATCH_ON_GPU = 1, 8
_MOST_READERS = 4

Item = TypeVar("Item")
Source = TypeVar("Source", bound=PictureSource)


def load(
    name_or_path: str | os.PathLike[str] | None = None, device: str | torch.device = "auto"
) -> "Predictor":
    """A trained network, ready to predict.

    Args:
        name_or_path: a bundled network's name, or a checkpoint file; None = the best bundled one.
        device: `auto`, `cpu`, `cuda`, `cuda:N` or `mps`.

    Raises:
        CheckpointError: if there is no such network, or the file is no usable checkpoint.
        InputError: if the device does not exist.
    """
    chosen_device = choose_device(device)
    name = default_model() if name_or_path is None else os.fspath(name_or_path)
    model, info = load_checkpoint(find_checkpoint(name))
    return Predictor(model, info, chosen_device)


@dataclass(frozen=True)
class _Input:
    """A picture and what the network gets to see of it: (S, S, 3) uint8 RGB."""

    image: Image.Image
    pixels: np.ndarray
    source: str | None
    read_ms: float


class Predictor:
    """A network, its class names and a device.

    Attributes:
        model: the `nn.Module`, in evaluation mode and channels-last.
        info: what its checkpoint says of itself.
        names: class names, background first.
        device: where it runs.
    """

    def __init__(self, model: BlitzNet, info: CheckpointInfo, device: torch.device):
        self.model = model.eval().to(device)
        self.model.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.info = info
        self.names = info.names
        self.device = device

    @overload
    def predict(
        self, source: PictureSource, score: float = ..., batch: int | None = ...
    ) -> Scene: ...
    @overload
    def predict(
        self, source: list[Any] | tuple[Any, ...], score: float = ..., batch: int | None = ...
    ) -> list[Scene]: ...
    def predict(
        self,
        source: PictureSource | list[Any] | tuple[Any, ...],
        score: float = DEFAULT_SCORE,
        batch: int | None = None,
    ) -> Scene | list[Scene]:
        """What the network sees in one picture or in several.

        Args:
            source: a path, a PIL image, a uint8 array (H, W, 3) RGB or (H, W) grey; or a list of
                these. For very many see `predict_stream`, which does not hold them all.
            score: least score of an object, 0..1.
            batch: pictures a forward pass; None = 1 on a CPU, 8 on a GPU.

        Returns:
            A scene, or a list of scenes for a list.

        Raises:
            PictureError: for the first picture that cannot be read.
            TypeError: for what is no picture at all.
        """
        if not isinstance(source, list | tuple):
            return self.predict([source], score, batch)[0]
        scenes = []
        for _, result in self.predict_stream(source, score, batch):
            if isinstance(result, PictureError):
                raise result
            scenes.append(result)
        return scenes

    def predict_stream(
        self,
        sources: Iterable[Source],
        score: float = DEFAULT_SCORE,
        batch: int | None = None,
    ) -> Iterator[tuple[Source, Scene | PictureError]]:
        """As `predict`, one result at a time; pictures are decoded ahead in threads.

        Args:
            sources: pictures, taken as they are needed.
            score: least score of an object, 0..1.
            batch: pictures a forward pass; None = 1 on a CPU, 8 on a GPU.

        Yields:
            Every source, in order, with its scene or with the reason why it could not be read.

        Raises:
            TypeError: for a source that is no picture at all.
        """
        if not 0 <= score <= 1:
            raise ValueError(f"score is a least score in 0..1, got {score}")
        if batch is None:
            batch = _BATCH_ON_CPU if self.device.type == "cpu" else _BATCH_ON_GPU
        if batch < 1:
            raise ValueError(f"batch is a number of pictures from 1 on, got {batch}")
        readers = min(_MOST_READERS, os.cpu_count() or 1)
        for group in _groups(map_ahead(self._read, sources, readers), batch):
            inputs = [read for _, read in group if isinstance(read, _Input)]
            scenes = iter(self._look(inputs, score) if inputs else ())
            for source, read in group:
                yield source, read if isinstance(read, PictureError) else next(scenes)

    def predict_video(
        self,
        source: str | os.PathLike[str] | int,
        score: float = DEFAULT_SCORE,
        batch: int | None = None,
        track: bool = False,
    ) -> Generator[tuple["Frame", Scene]]:
        """What the network sees in a video, one frame at a time.

        Args:
            source: a video file, a camera's number, or a URL (rtsp, http, ...).
            score: least score of an object, 0..1.
            batch: frames a forward pass of a recording; None = 1 on a CPU, 8 on a GPU.
            track: whether objects get an identity that lasts from frame to frame, `scene.ids`.

        Yields:
            Frames, which know their `time` in seconds and their `index`, with their scenes. All
            of a recording; of a live source the latest one, whenever the network is free.

        Raises:
            InputError: if the source cannot be opened, or a package is missing.
        """
        from blitznet.inference.streams.look import look_at_video
        from blitznet.inference.streams.open_video import open_video
        from blitznet.inference.streams.tracking import Tracker

        with closing(open_video(str(source))) as video:
            tracker = Tracker(score, video.rate) if track else None
            yield from look_at_video(self, video, score, batch, tracker)

    def _read(self, source: Source) -> tuple[Source, _Input | PictureError]:
        start = perf_counter()
        try:
            image = read_picture(source)
        except PictureError as error:
            return source, error
        size = self.model.config.image_size
        # Stretched and anti-aliased, as in training and evaluation (data.geometry.resize_sample).
        pixels = np.asarray(image.resize((size, size), Image.Resampling.BILINEAR))
        return source, _Input(image, pixels, source_name(source), _ms_since(start))

    def _look(self, inputs: list[_Input], score: float) -> list[Scene]:
        start = perf_counter()
        raw = self._forward(np.stack([one.pixels for one in inputs]))
        network_ms = _ms_since(start) / len(inputs)
        start = perf_counter()
        size = self.model.config.image_size
        detections: list[Detections | None] = [None] * len(inputs)
        if raw.class_logits is not None:
            # Weaker boxes never suppress stronger ones, so the threshold may come before NMS.
            detections[:] = decode_detections(raw, self.model.anchors, size, score)
        seg_logits = None if raw.seg_logits is None else raw.seg_logits.float().cpu().numpy()
        decode_ms = _ms_since(start) / len(inputs)
        scenes = []
        for index, one in enumerate(inputs):
            start = perf_counter()
            width, height = one.image.size
            boxes, labels, scores = _in_picture(detections[index], width / size, height / size)
            seg_map = None
            if seg_logits is not None:
                seg_map = classify_pixels(seg_logits[index], width, height)
            post_ms = decode_ms + _ms_since(start)
            times = {"read": one.read_ms, "network": network_ms, "post": post_ms}
            scenes.append(
                Scene(boxes, labels, scores, seg_map, self.names, one.image, one.source, times)
            )
        return scenes

    @torch.inference_mode()
    def _forward(self, pixels: np.ndarray) -> RawPredictions:
        """pixels: (B, S, S, 3) uint8 RGB, which as (B, 3, S, S) is channels-last already."""
        images = torch.from_numpy(pixels).to(self.device).permute(0, 3, 1, 2)
        config = self.model.config
        raw: RawPredictions = self.model(normalize_images(images, config.mean, config.std))
        if self.device.type != "cpu":
            torch.accelerator.synchronize(self.device)  # else the clock stops too early
        return raw


def _in_picture(
    detections: Detections | None, scale_x: float, scale_y: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Boxes in pixels of the picture, labels and scores; all empty for None."""
    if detections is None:
        return np.zeros((0, 4), np.float32), np.zeros(0, np.int64), np.zeros(0, np.float32)
    scale = np.array((scale_x, scale_y, scale_x, scale_y), dtype=np.float32)
    boxes, labels, scores = (tensor.cpu().numpy() for tensor in detections)
    return boxes * scale, labels, scores


def _groups(items: Iterable[Item], size: int) -> Iterator[list[Item]]:
    iterator = iter(items)
    while group := list(islice(iterator, size)):
        yield group


def _ms_since(start: float) -> float:
    return (perf_counter() - start) * 1000
