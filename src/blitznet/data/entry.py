"""What every entry of a data description can say, whatever its format."""

from abc import ABC, abstractmethod
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from pydantic import BaseModel, ConfigDict, Field

from blitznet.data.class_table import ClassTable
from blitznet.data.source import LabelSource, Subset


class SourceEntry(BaseModel, ABC):
    """One source of a split; a format adds `format` and where its files are.

    Attributes:
        boxes: whether boxes are read.
        label_map: from the source's class names to the network's; null = background there,
            "ignore" = neither helps nor hurts.
        labels_only: classes that the source labels; of the others nothing is known there. None =
            all.
        weight: how often its pictures are drawn in training, relative to those of other sources.
        max_pictures: a cap; which ones is drawn by chance, always the same. None = all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    boxes: bool = True
    label_map: dict[str, str | None] = Field(default_factory=dict)
    labels_only: tuple[str, ...] | None = None
    weight: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    max_pictures: int | None = Field(default=None, ge=1)

    @property
    def is_labelled(self) -> bool:
        """Whether it has labels to read; without any, its pictures can be predicted on."""
        return True

    @abstractmethod
    def open_all(self, folder: Path, table: ClassTable) -> LabelSource:
        """The reader of all its pictures; paths are relative to `folder`."""

    def open(self, folder: Path, names: Sequence[str]) -> LabelSource:
        """The reader of its pictures, capped.

        Args:
            folder: what relative paths are relative to.
            names: class names of the network, background first.

        Raises:
            LabelError: if it cannot be opened.
        """
        source = self.open_all(folder, ClassTable(names, self.label_map, self.labels_only))
        source.weight = self.weight
        if self.max_pictures is None or self.max_pictures >= len(source):
            return source
        chosen = np.random.default_rng(0).permutation(len(source))[: self.max_pictures]
        return Subset(source, np.sort(chosen).tolist())
