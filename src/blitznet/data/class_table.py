"""From the class names of a source to the class ids of the network."""

from collections.abc import Iterable, Mapping, Sequence
from difflib import get_close_matches

import numpy as np

from blitznet.classes import BACKGROUND, IGNORE_INDEX
from blitznet.errors import LabelError
from blitznet.structures import IGNORE_LABEL

IGNORE = "ignore"  # in a label map: is ignored


class ClassTable:
    """What a source's class names stand for, and which classes it labels at all.

    Args:
        names: class names of the network, background first.
        label_map: from names of the source to names of the network; None = is background there,
            "ignore" = a box that is ignored, void pixels. Other names stand for themselves.
        labels_only: names of the network that the source labels everywhere; labels of other classes
            are left out, and of these classes nothing is known where nothing else is labelled.
            None = all.

    Attributes:
        names: as given.
        label_map: as given, a copy.
        known: (C,) bool, the classes that the source labels; background is always known.

    Raises:
        LabelError: if the label map or `labels_only` names a class that the network does not have.
    """

    def __init__(
        self,
        names: Sequence[str],
        label_map: Mapping[str, str | None] | None = None,
        labels_only: Sequence[str] | None = None,
    ):
        self.names = tuple(names)
        self.label_map = dict(label_map or {})
        for name in self.label_map.values():
            if name not in (None, IGNORE, *self.names[1:]):
                raise LabelError(f"label_map: {_unknown(str(name), self.names[1:])}")
        for name in labels_only or ():
            if name not in self.names[1:]:
                raise LabelError(f"labels_only: {_unknown(name, self.names[1:])}")
        self.known = np.array(
            [
                index == BACKGROUND or labels_only is None or name in labels_only
                for index, name in enumerate(self.names)
            ]
        )

    def id_of(self, name: str) -> int:
        """The class id of a source's name; BACKGROUND = is left out, IGNORE_LABEL = is ignored.

        Raises:
            LabelError: for a name that stands for nothing, with the nearest known one.
        """
        target = self.label_map.get(name, name)
        if target is None:
            return BACKGROUND
        if target == IGNORE:
            return IGNORE_LABEL
        if target not in self.names[1:]:
            raise LabelError(_unknown(name, [*self.names[1:], *self.label_map]))
        index = self.names.index(target)
        return index if self.known[index] else BACKGROUND

    def map_ids(self, names: Iterable[str]) -> list[int]:
        """The value in segmentation maps of each of a source's names.

        "background" is BACKGROUND, what is ignored IGNORE_INDEX, a name that stands for nothing -1.
        """
        ids = []
        for name in names:
            try:
                index = BACKGROUND if name == self.names[BACKGROUND] else self.id_of(name)
            except LabelError:
                index = -1
            else:
                index = IGNORE_INDEX if index == IGNORE_LABEL else index
            ids.append(index)
        return ids


def _unknown(name: str, known: Sequence[str]) -> str:
    near = get_close_matches(name, known, n=1)
    return f"unknown class {name!r}" + (f"; did you mean {near[0]!r}?" if near else "")
