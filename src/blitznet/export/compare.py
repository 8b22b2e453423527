"""Run a file and the checkpoint that it was made from on the same pictures."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch

from blitznet.detection.postprocess import decode_detections
from blitznet.detections import Detections
from blitznet.export.formats import RawOutputs
from blitznet.export.parity import (
    SHOWN_SCORE,
    WEAK_SCORE,
    Parity,
    compare_raw,
    match_objects,
    same_pixel_share,
)
from blitznet.inference.engines.exported import open_exported
from blitznet.inference.engines.pixel_network import output_names
from blitznet.model.blitznet import BlitzNet, normalize_images
from blitznet.model_files import ExportInfo
from blitznet.structures import RawPredictions

_BATCH = 4


def compare_file(
    path: Path,
    network: BlitzNet,
    info: ExportInfo,
    raw_outputs: RawOutputs,
    pictures: Sequence[np.ndarray],
    metrics: dict[str, tuple[float, float]],
) -> Parity:
    """Run both on the same pictures.

    Args:
        path: of the file.
        network: that it was made from, on the CPU.
        info: of the file.
        raw_outputs: see `formats.write_file`.
        pictures: (S, S, 3) uint8 each.
        metrics: measured already, see `Parity`.
    """
    runtime = open_exported(path, device="cpu")
    raw_pairs: list[tuple[dict[str, np.ndarray], dict[str, np.ndarray]]] = []
    wanted: list[Detections] = []
    given: list[Detections] = []
    for start in range(0, len(pictures), _BATCH):
        pixels = np.stack(pictures[start : start + _BATCH])
        raw = _look(network, pixels)
        arrays = [values.numpy() for values in raw if values is not None]
        names = output_names(network.config)
        raw_pairs.append((dict(zip(names, arrays, strict=True)), raw_outputs(path, pixels)))
        if network.config.detect:
            size = network.config.image_size
            wanted += decode_detections(raw, network.anchors, size, info.score)
            given += runtime.run(pixels, info.score).detections or []
    maps = [
        (reference["seg_logits"], exported["seg_logits"])
        for reference, exported in raw_pairs
        if "seg_logits" in reference
    ]
    # An object at the file's own threshold may miss it by a rounding error.
    scores = [max(score, info.score + 0.01) for score in (SHOWN_SCORE, WEAK_SCORE)]
    return Parity(
        pictures=len(pictures),
        raw=compare_raw(raw_pairs),
        matched=tuple(match_objects(wanted, given, score) for score in scores)
        if network.config.detect
        else (),
        same_pixels=same_pixel_share(maps),
        metrics=metrics,
    )


@torch.inference_mode()
def _look(network: BlitzNet, pixels: np.ndarray) -> RawPredictions:
    config = network.config
    images = torch.from_numpy(pixels).permute(0, 3, 1, 2)
    raw: RawPredictions = network(normalize_images(images, config.mean, config.std))
    return raw
