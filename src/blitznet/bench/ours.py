"""Our networks as contestants: one for both tasks, or one for each."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch.utils.flop_counter import FlopCounterMode

from blitznet.bench.contestant import NETWORK, POSTPROCESS, PREPROCESS, Contestant, Found, Look
from blitznet.bench.race import Laps
from blitznet.bench.record import Tasks
from blitznet.bench.untrained import settle_network
from blitznet.detection.anchors import anchors_of
from blitznet.detections import Detections
from blitznet.inference.class_map import classify_pixels
from blitznet.inference.engines.engine import Engine, EngineOutput
from blitznet.inference.predictor import Predictor, batches_under_way
from blitznet.model.blitznet import BlitzNet, build
from blitznet.model.checkpoint import load_checkpoint, save_checkpoint
from blitznet.model_files import CheckpointInfo, read_info
from blitznet.model_info import ModelConfig

_SETTLING_PICTURES = 4


def write_untrained(
    name: str, folder: Path, images: Sequence[Image.Image], names: tuple[str, ...], score: float
) -> Path:
    """A checkpoint with random weights that behave as trained ones, see `untrained`.

    Args:
        name: of the family.
        folder: to write into.
        images: some pictures.
        names: class names, background first.
        score: least score of a box.
    """
    torch.manual_seed(0)
    network = build(name, classes=len(names))
    pixels = resize_pictures(images[:_SETTLING_PICTURES], network.config.image_size)
    settle_network(network, torch.from_numpy(pixels), score)
    path = folder / f"{name}.safetensors"
    save_checkpoint(path, network, CheckpointInfo(model=network.config, names=names))
    return path


def write_single_tasks(checkpoint: Path, folder: Path) -> tuple[Path, Path]:
    """The same network without its map, and without its boxes.

    Args:
        checkpoint: of a network with both tasks.
        folder: to write into.
    """
    network, info = load_checkpoint(checkpoint)
    paths = []
    for missing in ("segment", "detect"):
        config = info.model.model_copy(update={missing: False})
        single = BlitzNet(config)
        weights = network.state_dict()
        single.load_state_dict({key: weights[key] for key in single.state_dict()})
        path = folder / f"{checkpoint.stem}-without-{missing}.safetensors"
        save_checkpoint(path, single, CheckpointInfo(model=config, names=info.names))
        paths.append(path)
    return paths[0], paths[1]


def open_ours(
    runtimes: Sequence[Engine],
    score: float,
    batch: int,
    open_for_stream: Callable[[], Engine] | None = None,
) -> Contestant:
    """A network on its runtime; or two, one for each task, of the same input.

    Args:
        runtimes: one or two.
        score: least score of a box.
        batch: pictures a call.
        open_for_stream: opens the network as `blitznet predict` does for many pictures, when there
            is something to stream; None = nobody will.
    """
    configs = [runtime.info.model for runtime in runtimes]
    detector = next((config for config in configs if config.detect), None)
    works = [count_work(config) for config in configs]
    return Contestant(
        look=look_of(runtimes, score),
        tasks=_tasks(configs),
        input_size=configs[0].image_size,
        anchors=len(anchors_of(detector)) if detector else None,
        parameters=sum(parameters for parameters, _ in works),
        gflops=sum(gflops for _, gflops in works),
        stream=_stream_of(open_for_stream, score, batch) if open_for_stream else None,
    )


def _tasks(configs: Sequence[ModelConfig]) -> Tasks:
    if not any(config.segment for config in configs):
        return "boxes"
    return "boxes and map" if any(config.detect for config in configs) else "map"


def count_work(config: ModelConfig) -> tuple[int, float]:
    """Parameters, and 10^9 operations a picture, counted without doing them."""
    with torch.device("meta"):
        network = BlitzNet(config).eval()
        images = torch.empty(1, 3, config.image_size, config.image_size)
    with torch.inference_mode(), FlopCounterMode(display=False) as counter:
        network(images)
    parameters = sum(parameter.numel() for parameter in network.parameters())
    return parameters, counter.get_total_flops() / 1e9


def look_of(runtimes: Sequence[Engine], score: float) -> Look:
    """From decoded pictures to boxes in their pixels and maps of their size, stage by stage."""
    size = runtimes[0].info.model.image_size

    def look(images: Sequence[Image.Image], laps: Laps) -> list[Found]:
        pixels = resize_pictures(images, size)
        laps.end(PREPROCESS)
        found = [Found(None, None, None, None) for _ in images]
        for runtime in runtimes:
            output = runtime.run(pixels, score)
            # What comes after the network in a run belongs to the next stage.
            laps.end(NETWORK, None if output.network_ms is None else output.network_ms / 1000)
            found = [
                _add(one, output, row, image, size)
                for row, (one, image) in enumerate(zip(found, images, strict=True))
            ]
            laps.end(POSTPROCESS)
        return found

    return look


def resize_pictures(images: Sequence[Image.Image], size: int) -> np.ndarray:
    """(B, S, S, 3) uint8 RGB, as `Predictor` does it."""
    return np.stack(
        [np.asarray(image.resize((size, size), Image.Resampling.BILINEAR)) for image in images]
    )


def _add(found: Found, output: EngineOutput, row: int, image: Image.Image, size: int) -> Found:
    width, height = image.size
    if output.detections is not None:
        boxes, labels, scores = _in_picture(output.detections[row], width / size, height / size)
        found = found._replace(boxes=boxes, labels=labels, scores=scores)
    if output.seg_logits is not None:
        found = found._replace(seg_map=classify_pixels(output.seg_logits[row], width, height))
    return found


def _in_picture(
    detections: Detections, scale_x: float, scale_y: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    scale = np.array((scale_x, scale_y, scale_x, scale_y), np.float32)
    return detections.boxes * scale, detections.labels, detections.scores


def _stream_of(
    open_engine: Callable[[], Engine], score: float, batch: int
) -> Callable[[Iterable[Path]], Iterator[object]]:
    def stream(files: Iterable[Path]) -> Iterator[object]:
        predictor = Predictor(open_engine(), at_once=batches_under_way("throughput"))
        return predictor.predict_stream(files, score, batch)

    return stream


def is_trained(checkpoint: Path) -> bool:
    """Whether a checkpoint says how it was trained."""
    return bool(read_info(checkpoint).training)
