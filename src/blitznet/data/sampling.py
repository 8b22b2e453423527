"""The order of training images: weighted, class-balanced, a function of seed and position."""

from collections.abc import Sequence
from contextlib import suppress

import numpy as np

from blitznet.classes import BACKGROUND
from blitznet.data.source import LabelSource
from blitznet.errors import InputError

# Extends the seed, so that orders and samples use different random streams.
_ORDER_STREAM = 1


class DrawOrder:
    """An endless order of N images, in passes of N draws.

    In each pass, an image is drawn in proportion to its frequency, randomly rounded down or up
    (systematic sampling); with equal frequencies, exactly once.

    Args:
        frequencies: (N,) float, how often to draw each image, relative to the others.
        seed: seed of the run.
    """

    def __init__(self, frequencies: np.ndarray, seed: int):
        self.seed = seed
        expected = frequencies * (len(frequencies) / frequencies.sum())
        self._cumulative = np.concatenate(([0.0], expected.cumsum()))
        # Corrects the rounding error of the sum.
        self._cumulative[-1] = len(frequencies)
        self._pass, self._drawn = -1, np.empty(0, np.int64)

    def __len__(self) -> int:
        """Draws per pass."""
        return len(self._cumulative) - 1

    def image_at(self, position: int) -> int:
        """Index of the image drawn at a position of the run."""
        passes, offset = divmod(position, len(self))
        if passes != self._pass:
            rng = np.random.default_rng((self.seed, passes, _ORDER_STREAM))
            order, shift = rng.permutation(len(self)), rng.random()
            counts = np.diff(np.floor(self._cumulative + shift)).astype(np.int64)
            self._pass, self._drawn = passes, np.repeat(np.arange(len(self)), counts)[order]
        return int(self._drawn[offset])


def draw_frequencies(sources: Sequence[LabelSource], class_balance: float = 0.0) -> np.ndarray:
    """How often to draw each image of all sources, relative to the others.

    The weight of its source times the repeat factor of LVIS (Gupta, Dollar, Girshick, CVPR 2019,
    section 4.3): the square root of `class_balance` over the share of images with its rarest class,
    at least 1.

    Args:
        sources: sources of the images, in order.
        class_balance: share of images below which a class is rare; 0 = no class balancing.

    Returns:
        (N,) float64.
    """
    weights = np.repeat([source.weight for source in sources], [len(source) for source in sources])
    if class_balance == 0:
        return weights
    shown = np.concatenate([_classes_shown(source) for source in sources])
    share = shown.mean(axis=0)
    factors = np.sqrt(class_balance / np.maximum(share, 1 / len(shown))).clip(1)
    result: np.ndarray = weights * np.where(shown, factors, 1.0).max(axis=1)
    return result


def _classes_shown(source: LabelSource) -> np.ndarray:
    """(N, C) bool: the classes of each image's objects, or of its map if it has no boxes.

    An image with unusable labels has no classes here; training reports the error.
    """
    num_classes = len(source.table.names)
    shown = np.zeros((len(source), num_classes), bool)
    for index in range(len(source)):
        with suppress(InputError):
            labels = source.labels(index)
            if labels.objects is not None:
                names = [item.name for item in labels.objects if item.name is not None]
                ids = [source.table.id_of(name) for name in names]
                shown[index, [class_id for class_id in ids if class_id > BACKGROUND]] = True
            elif labels.seg_map is not None:
                seg_map = source.read(index).seg_map
                assert seg_map is not None
                shown[index] = np.bincount(seg_map.ravel(), minlength=256)[:num_classes] > 0
    shown[:, BACKGROUND] = False
    return shown
