"""What boxes say about pixels: coarse maps (D17), maps refined by a network, and gaps in maps."""

import math
import os
from pathlib import Path

import numpy as np

from blitznet.classes import BACKGROUND, IGNORE_INDEX
from blitznet.data.labels import IGNORE, ClassTable, ImageLabels, ReadMap, read_objects
from blitznet.data.seg_map import MapEncoding
from blitznet.errors import LabelError
from blitznet.files.text_files import read_text
from blitznet.structures import IGNORE_LABEL

# Central share of a box that is labelled as the object: "Box^i" of Khoreva et al., Simple Does It:
# Weakly Supervised Instance and Semantic Segmentation, CVPR 2017, section 3.1.
INNER_AREA = 0.2

NAMES_FILE = "classes.txt"  # in the folder of the maps: class names by value, one per line

# If the network finds an object in less than this share of its box, the box keeps its coarse map:
# the object was missed or is thin, and the inner fifth is a better label.
MIN_COVERAGE = 0.2

# An object whose class covers less than this share of its box is missing in the map. SBD's maps
# miss 8 % of the objects of VOC's images, VOC's own miss none.
MISSING_COVERAGE = 0.02


def map_from_boxes(labels: ImageLabels, size: tuple[int, int], table: ClassTable) -> np.ndarray:
    """Draw a segmentation map from an image's boxes, assuming that every object has one.

    Pixels outside all boxes are background; the inner fifth of a box is its object, the rest is
    void. Where boxes overlap, the smallest wins, void included. Ignored objects are void.
    For `size` and the result, see `ReadMap`.

    Raises:
        LabelError: if a box is unusable.
    """
    boxes, ids, difficult = read_objects(labels, size, table)
    sides = boxes[:, 2:] - boxes[:, :2]
    inset = np.tile(sides * (1 - math.sqrt(INNER_AREA)) / 2, 2) * (1, 1, -1, -1)
    seg_map = np.full((size[1], size[0]), BACKGROUND, np.uint8)
    for index in np.argsort(-sides.prod(axis=1), kind="stable"):
        seg_map[_pixels_in_box(boxes[index], seg_map.shape)] = IGNORE_INDEX
        if not difficult[index]:
            core = _pixels_in_box(boxes[index] + inset[index], seg_map.shape)
            seg_map[core] = ids[index]
    return seg_map


def without_missing(
    read_map: ReadMap, labels: ImageLabels, size: tuple[int, int], table: ClassTable
) -> np.ndarray:
    """Read an image's map; where it calls a missing object background, it becomes void.

    For `size` and the result, see `ReadMap`.

    Raises:
        LabelError: if the map cannot be read, or a box is unusable.
    """
    seg_map = read_map(size, table).copy()
    boxes, ids, _ = read_objects(labels, size, table)
    for box in boxes[is_missing(boxes, ids, seg_map)]:
        inside = seg_map[_pixels_in_box(box, seg_map.shape)]
        inside[inside == BACKGROUND] = IGNORE_INDEX
    return seg_map


def is_missing(boxes: np.ndarray, ids: np.ndarray, seg_map: np.ndarray) -> np.ndarray:
    """Whether a map shows next to nothing of an object's class in its box.

    Args:
        boxes: (G, 4) xyxy in pixels of the image.
        ids: (G,) class ids; objects of ignored classes are not missing.
        seg_map: (H, W) uint8 class ids, 255 = void.

    Returns:
        (G,) bool.
    """
    covered = [
        (seg_map[_pixels_in_box(box, seg_map.shape)] == index).mean()
        for box, index in zip(boxes, ids, strict=True)
    ]
    missing: np.ndarray = (np.array(covered) < MISSING_COVERAGE) & (ids != IGNORE_LABEL)
    return missing


def _pixels_in_box(box: np.ndarray, shape: tuple[int, ...]) -> tuple[slice, slice]:
    """Rows and columns of the pixels whose centre lies in a box, and always the box's middle pixel.

    `box` is (4,) xyxy in pixels of a map whose `shape` is (H, W).
    """
    height, width = shape
    x1, y1, x2, y2 = box.tolist()
    return _span(y1, y2, height), _span(x1, x2, width)


def _span(start: float, end: float, length: int) -> slice:
    first, last = math.ceil(start - 0.5), math.ceil(end - 0.5)
    middle = min(int((start + end) / 2), length - 1)
    return slice(max(min(first, middle), 0), max(last, middle + 1))


def refined_path(folder: Path, image: Path, data_folder: Path) -> Path:
    """File of an image's refined map: `folder` with the image's path relative to `data_folder`.

    Of an image elsewhere, with its absolute path.
    """
    # Without "..", but not `resolve`, which follows links.
    path, start = (Path(os.path.abspath(one)) for one in (image, data_folder))  # noqa: PTH100
    relative = path.relative_to(start if path.is_relative_to(start) else path.anchor)
    return (folder / relative).with_suffix(".png")


def read_refined_codes(folder: Path) -> MapEncoding:
    """Read the classes by value of refined maps.

    Raises:
        LabelError: if the folder lacks the class list that `blitznet refine-masks` writes.
    """
    if not (folder / NAMES_FILE).is_file():
        raise LabelError(
            f"refined_masks: {folder} has no {NAMES_FILE}; create it with blitznet refine-masks"
        )
    names = read_text(folder / NAMES_FILE, LabelError).splitlines()
    return MapEncoding({**dict(enumerate(names)), IGNORE_INDEX: IGNORE}, are_final=True)


def refine_box_map(
    coarse: np.ndarray,
    probabilities: np.ndarray,
    boxes: np.ndarray,
    ids: np.ndarray,
    confidence: float,
    known: np.ndarray,
) -> np.ndarray:
    """Label the pixels inside boxes with a network, choosing among the classes of those boxes.

    The network's probability of any object goes to the classes of the boxes around the pixel, in
    proportion to its own probabilities of these: the boxes, not the network, distinguish a bus from
    a train. Only that of classes that the source does not label is left out. Pixels below
    `confidence` are void.

    Args:
        coarse: (H, W) uint8, see `map_from_boxes`; kept outside the boxes.
        probabilities: (C, h, w) float32 class probabilities of a network, background first; all
            zero for classes that it does not know, whose boxes stay coarse.
        boxes: (G, 4) xyxy in pixels of the image.
        ids: (G,) class ids; IGNORE_LABEL for ignored objects, whose boxes stay coarse.
        confidence: minimum probability of a labelled pixel.
        known: (C,) bool, classes that the source labels.

    Returns:
        (H, W) uint8 class ids, 255 = void.
    """
    import torch  # here, because reading labels does not need it
    from torch.nn.functional import interpolate

    regions = [_pixels_in_box(box, coarse.shape) for box in boxes]
    is_known = (ids != IGNORE_LABEL) & probabilities[ids].any(axis=(1, 2))
    present = np.unique(ids[is_known])
    if not len(present):
        return coarse
    unlabelled = probabilities[~known].sum(axis=0, keepdims=True)
    layers = np.concatenate([unlabelled, probabilities[[0, *present]]])
    resized = interpolate(torch.from_numpy(layers)[None], coarse.shape, mode="bilinear")[0].numpy()
    may_be = np.zeros((len(present), *coarse.shape), bool)
    is_open = np.zeros(coarse.shape, bool)
    for index in np.argsort(is_known, kind="stable")[::-1]:  # unknown classes last: they win
        is_open[regions[index]] = is_known[index]
        if is_known[index]:
            may_be[np.searchsorted(present, ids[index])][regions[index]] = True

    other, background = resized[:2]
    own = resized[2:] * may_be + 1e-6 * may_be  # equal shares where the network sees none of them
    shares = (1 - background - other) * own / own.sum(0).clip(1e-9)
    scores = np.concatenate([background[None], shares])
    winner = np.array([0, *present], np.uint8)[scores.argmax(axis=0)]
    winner[scores.max(axis=0) < confidence] = IGNORE_INDEX
    refined = np.where(is_open, winner, coarse)
    for index in np.flatnonzero(is_known):
        inside, sure = refined[regions[index]], coarse[regions[index]] == ids[index]
        if (inside == ids[index]).mean() < MIN_COVERAGE:
            is_own = np.isin(inside, (BACKGROUND, ids[index], IGNORE_INDEX))
            inside[is_own] = np.where(sure, ids[index], IGNORE_INDEX)[is_own]
    return refined
