"""Segmentation maps for images with boxes only, from a trained network and the boxes."""

from collections.abc import Callable
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from blitznet.classes import BACKGROUND, IGNORE_INDEX
from blitznet.data.labels import IGNORE, ImageLabels
from blitznet.data.map_from_boxes import MapFromBoxes, pixels_in_box
from blitznet.data.seg_map import MapEncoding, MapFile
from blitznet.errors import LabelError
from blitznet.files.text_files import read_text

NAMES_FILE = "classes.txt"  # in the folder of the maps: class names by value, one per line

# If the network finds an object in less than this share of its box, the box keeps its coarse map:
# the object was missed or is thin, and the inner fifth is a better label.
MIN_COVERAGE = 0.2


def refined_path(folder: Path, image: Path, data_folder: Path) -> Path:
    """File of an image's refined map: `folder` with the image's path relative to `data_folder`."""
    path, start = image.absolute(), data_folder.absolute()
    relative = path.relative_to(start if path.is_relative_to(start) else path.anchor)
    return (folder / relative).with_suffix(".png")


def with_refined_maps(
    read_labels: Callable[[Any], ImageLabels], folder: Path, data_folder: Path
) -> Callable[[Any], ImageLabels]:
    """Wrap a reader so that images without a segmentation map of their own get the refined one.

    Raises:
        LabelError: if the folder lacks the class list that `blitznet refine-masks` writes.
    """
    if not (folder / NAMES_FILE).is_file():
        raise LabelError(
            f"refined_masks: {folder} has no {NAMES_FILE}; create it with blitznet refine-masks"
        )
    names = read_text(folder / NAMES_FILE, LabelError).splitlines()
    codes = MapEncoding({**dict(enumerate(names)), IGNORE_INDEX: IGNORE})
    return partial(_read_refined, read_labels, folder, data_folder, codes)


def _read_refined(
    read_labels: Callable[[Any], ImageLabels],
    folder: Path,
    data_folder: Path,
    codes: MapEncoding,
    key: Any,
) -> ImageLabels:
    labels = read_labels(key)
    path = refined_path(folder, labels.path, data_folder)
    has_own = labels.seg_map is not None and not isinstance(labels.seg_map, MapFromBoxes)
    if has_own or not path.is_file():
        return labels
    return replace(labels, seg_map=MapFile(path, codes))


def refine_box_map(
    coarse: np.ndarray,
    probabilities: np.ndarray,
    boxes: np.ndarray,
    ids: np.ndarray,
    confidence: float,
) -> np.ndarray:
    """Label the pixels inside boxes with a network, choosing among the classes of those boxes.

    The network's probability of any object goes to the classes of the boxes around the pixel, in
    proportion to its own probabilities of these: the boxes, not the network, distinguish a bus from
    a train. Pixels below `confidence` are void.

    Args:
        coarse: (H, W) uint8, see `MapFromBoxes`; kept outside the boxes.
        probabilities: (C, h, w) float32 class probabilities of a network, background first; all
            zero for classes that it does not know, whose boxes stay coarse.
        boxes: (G, 4) xyxy in pixels of the image, without ignored objects.
        ids: (G,) class ids.
        confidence: minimum probability of a labelled pixel.

    Returns:
        (H, W) uint8 class ids, 255 = void.
    """
    import torch  # here, because reading labels does not need it
    from torch.nn.functional import interpolate

    regions = [pixels_in_box(box, coarse.shape) for box in boxes]
    is_known = probabilities[ids].any(axis=(1, 2))
    present = np.unique(ids[is_known])
    if not len(present):
        return coarse
    resized = interpolate(
        torch.from_numpy(probabilities[[0, *present]])[None], coarse.shape, mode="bilinear"
    )[0].numpy()
    may_be = np.zeros((len(present), *coarse.shape), bool)
    is_open = np.zeros(coarse.shape, bool)
    for index in np.argsort(is_known, kind="stable")[::-1]:  # unknown classes last: they win
        is_open[regions[index]] = is_known[index]
        if is_known[index]:
            may_be[np.searchsorted(present, ids[index])][regions[index]] = True

    own = resized[1:] * may_be + 1e-6 * may_be  # equal shares where the network sees none of them
    scores = np.concatenate([resized[:1], (1 - resized[0]) * own / own.sum(0).clip(1e-9)])
    winner = np.array([0, *present], np.uint8)[scores.argmax(axis=0)]
    winner[scores.max(axis=0) < confidence] = IGNORE_INDEX
    refined = np.where(is_open, winner, coarse)
    for index in np.flatnonzero(is_known):
        inside, sure = refined[regions[index]], coarse[regions[index]] == ids[index]
        if (inside == ids[index]).mean() < MIN_COVERAGE:
            is_own = np.isin(inside, (BACKGROUND, ids[index], IGNORE_INDEX))
            inside[is_own] = np.where(sure, ids[index], IGNORE_INDEX)[is_own]
    return refined
