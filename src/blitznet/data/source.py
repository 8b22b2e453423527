"""A source of a data description: its entry, and the labelled images behind it."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Sequence, Sized
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple, Self, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, field_validator, model_validator

from blitznet.data.labels import ClassTable, ImageLabels, ObjectLabel, read_labels
from blitznet.data.map_from_boxes import (
    map_from_boxes,
    read_refined_codes,
    refined_path,
    without_missing,
)
from blitznet.data.map_from_instances import map_from_instances
from blitznet.data.seg_map import (
    VOC_CODES,
    ColourNames,
    MapEncoding,
    MapFile,
    ValueNames,
    parse_codes,
)
from blitznet.errors import LabelError
from blitznet.files.plain_names import is_possible_path
from blitznet.image import read_image
from blitznet.structures import Sample

Images = TypeVar("Images", bound=Sized)
ReadLabels = Callable[[Any], ImageLabels]
ObjectsAndSize = tuple[tuple[ObjectLabel, ...], tuple[int, int] | None]


class ImageFiles(NamedTuple):
    """An image and the files that label it.

    Attributes:
        path: image file.
        objects: file of its objects; None = boxes are not labelled.
        seg_map: file of its segmentation map; None = it has none.
        name: name of the image in results; "" = the file name without extension.
    """

    path: Path
    objects: Path | None
    seg_map: Path | None
    name: str = ""


def read_files(
    read_objects: Callable[[Path], ObjectsAndSize] | None,
    codes: MapEncoding,
    files: ImageFiles,
    in_fractions: bool = False,
) -> ImageLabels:
    """Read the labels of an image in formats with label files per image.

    `codes` applies to maps that are images; SBD's .mat files use VOC's. Without `read_objects`,
    boxes are not labelled.

    Raises:
        LabelError: raised by `read_objects`.
    """
    objects = size = seg_map = None
    if files.seg_map is not None:
        seg_map = MapFile(files.seg_map, VOC_CODES if files.seg_map.suffix == ".mat" else codes)
    if read_objects is not None and files.objects is not None:
        objects, size = read_objects(files.objects)
    return ImageLabels(files.path, objects, seg_map, size, in_fractions, files.name)


@dataclass(frozen=True)
class LabelSource:
    """The labelled images of one source.

    Attributes:
        keys: one key per image, whose meaning depends on the format.
        read_labels: reads the unchecked labels of the image with a key.
        table: from the source's class names to the network's ids.
        weight: how often its images are drawn in training, relative to those of other sources.
        positions: positions of its images in `keys`; None = all.
    """

    keys: Sequence[Any]
    read_labels: ReadLabels
    table: ClassTable
    weight: float = 1.0
    positions: np.ndarray | None = None

    def __len__(self) -> int:
        return len(self.keys if self.positions is None else self.positions)

    def labels(self, index: int) -> ImageLabels:
        """Read the labels of one image, unchecked, without opening the image.

        Raises:
            LabelError: if a label file is missing or damaged.
        """
        position = index if self.positions is None else int(self.positions[index])
        return self.read_labels(self.keys[position])

    def image_id(self, index: int) -> str:
        """The name of one image in results."""
        labels = self.labels(index)
        return labels.name or labels.path.stem

    def read(self, index: int) -> Sample:
        """Read one image with its labels.

        Raises:
            ImageError: if the image cannot be read.
            LabelError: for the first error in its labels.
        """
        labels = self.labels(index)
        image = read_image(labels.path)
        arrays = read_labels(labels, image.size, self.table)
        return Sample(np.asarray(image), *arrays, str(labels.path), self.table.known)

    def subset(self, indices: Sequence[int]) -> "LabelSource":
        """A source with only the images at `indices`, in that order."""
        positions = np.arange(len(self.keys)) if self.positions is None else self.positions
        return replace(self, positions=positions[np.asarray(indices, np.int64)])


class SourceEntry(BaseModel, ABC):
    """One source of a split; each format adds `format` and the paths of its files.

    Attributes:
        boxes: whether to read boxes.
        masks: where segmentation maps come from: "from_boxes", see `map_from_boxes`;
            "from_instances", see `map_from_instances`, in formats with outlines; a folder, in which
            an image without a file has no map; None = pixels are not labelled.
        void_missing: whether the box of an object that an image's own map does not show is void
            where the map says background, see `without_missing`.
        refined_masks: folder of `blitznet refine-masks`, for images without a map of their own.
        label_map: from the source's class names to the network's; null = background, "ignore" =
            ignored.
        labels_only: classes that the source labels; its images may show others. None = all.
        weight: how often its images are drawn in training, relative to those of other sources.
        max_pictures: maximum number of images, chosen at random but always the same; None = all.
        part: which part of these to use, in a fixed random order: [0.1, 1] is all but the first
            tenth. None = all.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    boxes: bool = True
    masks: Literal["from_boxes", "from_instances"] | Path | None = None
    void_missing: bool = False
    refined_masks: Path | None = None
    label_map: dict[str, str | None] = Field(default_factory=dict)
    labels_only: tuple[str, ...] | None = None
    weight: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    max_pictures: int | None = Field(default=None, ge=1)
    part: tuple[float, float] | None = None

    @field_validator("part")
    @classmethod
    def _is_part(cls, part: tuple[float, float] | None) -> tuple[float, float] | None:
        if part is not None and not 0 <= part[0] < part[1] <= 1:
            raise ValueError("part must be two numbers from 0 to 1, the smaller first")
        return part

    @model_validator(mode="after")
    def _missing_has_boxes(self) -> Self:
        if self.void_missing and not self.boxes:
            raise ValueError("void_missing: compares maps with boxes; it needs boxes: true")
        return self

    @field_validator("*")
    @classmethod
    def _is_possible(cls, value: object) -> object:
        if isinstance(value, Path) and not is_possible_path(value):
            raise ValueError("no file system has such a path")
        return value

    @property
    def is_labelled(self) -> bool:
        """Whether any labels are read; otherwise its images are for prediction only."""
        return self.boxes or self.masks is not None

    @property
    def values_key(self) -> str | None:
        """The key that names the pixel values of its map files; None if they have no values."""
        return None

    def _read_labels(
        self, read: ReadLabels, folder: Path, refined: MapEncoding | None, key: Any
    ) -> ImageLabels:
        """Read an image's labels, make its map as `masks` requires, and drop unwanted boxes."""
        labels = read(key)
        seg_map = labels.seg_map
        if self.masks == "from_boxes":
            seg_map = partial(map_from_boxes, labels)
        elif self.masks == "from_instances":
            seg_map = partial(map_from_instances, labels)
        has_own = seg_map is not None and self.masks != "from_boxes"
        if self.void_missing and has_own and seg_map is not None:
            seg_map = partial(without_missing, seg_map, labels)
        if self.refined_masks is not None and refined is not None and not has_own:
            path = refined_path(folder / self.refined_masks, labels.path, folder)
            seg_map = MapFile(path, refined) if path.is_file() else seg_map
        return replace(labels, objects=labels.objects if self.boxes else None, seg_map=seg_map)

    @abstractmethod
    def find_images(self, folder: Path) -> tuple[Sequence[Any], ReadLabels]:
        """The keys of all images, and a function that reads the labels of one; see `LabelSource`.

        It reads all labels; `open` drops those that are not wanted. Paths are relative to `folder`.

        Raises:
            LabelError: if the images cannot be listed, or a file or folder is missing.
        """

    def open(self, folder: Path, names: Sequence[str]) -> LabelSource:
        """Open the source, limited to `part` and `max_pictures`; paths are relative to `folder`.

        `names` are the network's class names, background first.

        Raises:
            LabelError: if the source cannot be opened.
        """
        table = ClassTable(names, self.label_map, self.labels_only)
        keys, read = self.find_images(folder)
        refined = None
        if self.refined_masks is not None:
            refined = read_refined_codes(folder / self.refined_masks)
        read = partial(self._read_labels, read, folder, refined)
        source = LabelSource(keys, read, table, self.weight)
        order = np.random.default_rng(0).permutation(len(source))[: self.max_pictures]
        if self.part is not None:
            first, last = (round(share * len(order)) for share in self.part)
            order = order[first:last]
            if not len(order):
                raise LabelError(
                    f"part {list(self.part)} (or `val`, if it is a share) of {len(source)} images "
                    "is none; give more"
                )
        return source.subset(np.sort(order).tolist())

    def unclaimed_files(
        self, folder: Path, found: Sequence[Any]
    ) -> Iterable[tuple[Path, Path | None]]:
        """Label files that belong to no image, as far as the format can tell.

        Each comes with the missing file whose name differs only in case or Unicode form, if any.
        `found` are the keys of `find_images`.
        """
        del folder, found
        return ()


class CodedEntry(SourceEntry):
    """An entry whose maps may use other values or colours than the format's.

    Attributes:
        mask_values: class names by map value, see `parse_codes`; None = the format's own.
        mask_colours: class names by colour instead.
    """

    mask_values: ValueNames | None = None
    mask_colours: ColourNames | None = None

    @model_validator(mode="after")
    def _codes_have_maps(self) -> Self:
        codes = [self.mask_values, self.mask_colours]
        if None not in codes or (codes != [None, None] and not isinstance(self.masks, Path)):
            raise ValueError("mask_values: and mask_colours: need masks: FOLDER")
        return self

    @property
    def values_key(self) -> str | None:
        """See `SourceEntry`."""
        return "mask_values" if isinstance(self.masks, Path) and not self.mask_colours else None

    def codes(self, folder: Path, default: ValueNames) -> MapEncoding:
        """The encoding of its maps; `default` are the values of the format."""
        has_own = self.mask_values is not None or self.mask_colours is not None
        return parse_codes(self.mask_values if has_own else default, self.mask_colours, folder)


def locate(sources: Sequence[Images], position: int) -> tuple[Images, int]:
    """The source, and the index in it, of a position in all sources put together."""
    for source in sources:
        if position < len(source):
            return source, position
        position -= len(source)
    raise IndexError("position beyond the last source")
