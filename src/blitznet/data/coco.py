"""COCO's annotation files: instances, and lists of pictures to predict on."""

import json
import marshal
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import count, repeat
from pathlib import Path
from typing import Any, Literal

import numpy as np
from pydantic import model_validator

from blitznet.data.box_map import BoxMap
from blitznet.data.class_table import ClassTable
from blitznet.data.entry import SourceEntry
from blitznet.data.instance_map import InstanceMap
from blitznet.data.labels import MapLabel, ObjectLabel, PictureLabels
from blitznet.data.source import LabelSource
from blitznet.errors import LabelError
from blitznet.progress import with_progress

Id = int | str  # of a picture or a category
MapOrigin = Literal["from_instances", "from_boxes"]

# What is kept of an annotation, in this order.
_FIELDS = ("id", "category_id", "bbox", "area", "iscrowd", "segmentation")
_TICK = 1000  # of the progress bar, in annotations


class CocoSource(LabelSource):
    """The pictures of one annotation file.

    The file is parsed once. What is kept of it is one buffer of bytes, as forked workers would copy
    a tree of Python objects merely by looking at it.

    Args:
        images: the folder that the file names of the pictures are relative to.
        annotations: as instances_train2014.json; where nothing is read but pictures, a list of
            them as image_info_test2015.json will do.
        table: from COCO's category names to the network's classes.
        boxes: whether boxes are read.
        masks: what maps are made of: "from_instances" = see `InstanceMap`, "from_boxes" = see
            `BoxMap`; None = there are none.
        ids: a file with the ids of the pictures wanted, see `read_ids`; None = all.

    Attributes:
        ids: picture ids, in the order of the pictures.

    Raises:
        LabelError: if one of the files or the folder cannot be used.
    """

    def __init__(
        self,
        images: Path,
        annotations: Path,
        table: ClassTable,
        boxes: bool,
        masks: MapOrigin | None,
        ids: Path | None = None,
    ):
        if not images.is_dir():
            raise LabelError(f"{images} is no folder; check `images`")
        self.images = images
        self.annotations = annotations
        self.table = table
        self.has_boxes = boxes
        self.masks = masks
        wants_labels = boxes or masks is not None
        content, buffer = _read_file(annotations, with_outlines=masks == "from_instances")
        pictures = _list_pictures(content, annotations)
        self._names = _list_categories(content, annotations) if wants_labels else {}
        spans = _group_annotations(content, buffer, annotations, pictures) if wants_labels else {}
        self.ids = list(pictures) if ids is None else read_ids(ids)
        _require_listed(self.ids, ids, pictures, annotations)
        self._records, ends = bytearray(), []
        for key in self.ids:
            packed = [bytes(buffer[start:end]) for start, end in spans.get(key, ())]
            self._records += marshal.dumps((*pictures[key], packed))
            ends.append(len(self._records))
        self._ends = np.array(ends, np.int64)

    def __len__(self) -> int:
        return len(self.ids)

    def labels(self, index: int) -> PictureLabels:
        """See `LabelSource`."""
        start = int(self._ends[index - 1]) if index else 0
        record = self._records[start : int(self._ends[index])]
        file_name, size, packed = marshal.loads(record)
        objects = tuple(self._read_objects(packed, file_name))
        labels = PictureLabels(self.images / file_name, objects, size=size)
        seg_map: MapLabel | None = None
        if self.masks is not None:
            seg_map = BoxMap(labels) if self.masks == "from_boxes" else InstanceMap(objects)
        return PictureLabels(labels.picture, objects if self.has_boxes else None, seg_map, size)

    def picture_id(self, index: int) -> str:
        """See `LabelSource`."""
        return str(self.ids[index])

    def _read_objects(self, packed: Sequence[bytes], file_name: str) -> Iterator[ObjectLabel]:
        for annotation in packed:
            key, category, bbox, area, is_crowd, segmentation = marshal.loads(annotation)
            where = f"{self.annotations}, annotation {key}"
            if key is None:
                where = f"{self.annotations}, an annotation of {file_name}"
            if not isinstance(category, Id) or category not in self._names:
                raise LabelError(f"{where}: category_id {category} is not among its `categories`")
            numbers = _read_numbers(bbox)
            if numbers is None or len(numbers) != 4:
                box, problem = None, f"bbox is {bbox}; it needs four numbers x, y, width, height"
            else:
                x, y, width, height = numbers
                box, problem = (x, y, x + width, y + height), ""
                if area == 0 and 0 in (width, height):
                    continue  # names no object (D19)
            yield ObjectLabel(
                self._names[category],
                box,
                where,
                written=str(bbox),
                problem=problem,
                ignore=bool(is_crowd),
                outline=_read_outline(segmentation, where),
            )


class CocoEntry(SourceEntry):
    """`format: coco`; see `CocoSource`. Without boxes and masks: pictures to predict on."""

    format: Literal["coco"]
    images: Path
    annotations: Path
    masks: MapOrigin | None = None
    ids: Path | None = None

    @model_validator(mode="after")
    def _has_boxes_for_maps(self) -> "CocoEntry":
        if not self.boxes and self.masks == "from_boxes":
            raise ValueError("masks: from_boxes needs boxes: true")
        return self

    @property
    def is_labelled(self) -> bool:
        """See `SourceEntry`."""
        return self.boxes or self.masks is not None

    def open_all(self, folder: Path, table: ClassTable) -> CocoSource:
        """See `SourceEntry`."""
        return CocoSource(
            folder / self.images,
            folder / self.annotations,
            table,
            self.boxes,
            self.masks,
            folder / self.ids if self.ids is not None else None,
        )


def read_ids(path: Path) -> list[Id]:
    """Picture ids: one a line, a JSON list of them, or the pictures of another COCO file.

    Raises:
        LabelError: if the file is missing, holds something else, nothing, or an id twice.
    """
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise LabelError(f"{path} does not exist; check `ids`") from None
    except (OSError, UnicodeDecodeError) as error:
        raise LabelError(f"{path} cannot be read as text: {error}") from None
    ids: Any
    if text.lstrip()[:1] in ("[", "{"):
        try:
            ids = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise LabelError(f"{path} cannot be read as JSON: {error}") from None
        if isinstance(ids, dict):
            ids = list(_list_pictures(ids, path))
        if not all(isinstance(key, Id) for key in ids):
            raise LabelError(f"{path} is a list of something else than picture ids")
    else:
        lines = (line.strip() for line in text.splitlines())
        ids = [int(line) if line.isdecimal() else line for line in lines if line]
    if not ids:
        raise LabelError(f"{path} lists no picture")
    seen: set[Id] = set()
    for key in ids:
        if key in seen:
            raise LabelError(f"{path} lists picture {key} twice")
        seen.add(key)
    return list(ids)


def _read_file(path: Path, with_outlines: bool) -> tuple[dict[str, Any], bytearray]:
    """The JSON and a buffer; each annotation is a picture id and where in the buffer it is."""
    try:
        text = path.read_text(encoding="utf-8-sig")
    except FileNotFoundError:
        raise LabelError(f"{path} does not exist; check `annotations`") from None
    except (OSError, UnicodeDecodeError) as error:
        raise LabelError(f"{path} cannot be read as text: {error}") from None
    buffer = bytearray()
    total = text.count('"category_id"') // _TICK
    ticks = with_progress(repeat(None), total, f"reading {path.name}, thousands of objects")
    fields = _FIELDS if with_outlines else _FIELDS[:-1]
    try:
        content = json.loads(text, object_hook=_packer(fields, buffer, ticks))
    except (ValueError, RecursionError) as error:
        raise LabelError(f"{path} cannot be read as JSON: {error}") from None
    finally:
        ticks.close()
    if isinstance(content, list):
        raise LabelError(
            f"{path} is a list, as results of a detector are; give a file with `images` and "
            "`annotations`, as instances_train2014.json"
        )
    if not isinstance(content, dict):
        raise LabelError(f"{path} is no COCO file; give one as instances_train2014.json")
    return content, buffer


def _packer(
    fields: Sequence[str], buffer: bytearray, ticks: Iterator[None]
) -> Callable[[dict[str, Any]], Any]:
    """A hook of the JSON parser: an annotation becomes bytes before the next one is read."""
    padding = [None] * (len(_FIELDS) - len(fields))
    numbers = count(1)

    def pack(node: dict[str, Any]) -> Any:
        if "category_id" not in node or "image_id" not in node:
            return node
        if next(numbers) % _TICK == 0:
            next(ticks)
        start = len(buffer)
        buffer.extend(marshal.dumps([node.get(field) for field in fields] + padding))
        return node["image_id"], start, len(buffer)

    return pack


def _list_pictures(
    content: Mapping[str, Any], path: Path
) -> dict[Id, tuple[str, tuple[int, int] | None]]:
    """File name and size of every picture by its id."""
    images = content.get("images")
    if not isinstance(images, list) or not images:
        raise LabelError(f"{path} has no `images`; give a COCO file as instances_train2014.json")
    pictures: dict[Id, tuple[str, tuple[int, int] | None]] = {}
    for number, image in enumerate(images, start=1):
        key = image.get("id") if isinstance(image, dict) else None
        if not isinstance(key, Id) or not isinstance(image.get("file_name"), str):
            raise LabelError(f"{path}, image number {number} needs an `id` and a `file_name`")
        if key in pictures:
            raise LabelError(f"{path} has two images with the id {key}")
        size = image.get("width"), image.get("height")
        is_size = all(type(side) is int and side > 0 for side in size)
        pictures[key] = image["file_name"], size if is_size else None
    return pictures


def _list_categories(content: Mapping[str, Any], path: Path) -> dict[Id, str]:
    """Names by category id."""
    if "annotations" not in content:
        raise LabelError(
            f"{path} has no `annotations`: it lists pictures only, as COCO's image_info files; "
            "give an instances file, or say boxes: false and no masks to predict on them"
        )
    categories = content.get("categories")
    if not isinstance(categories, list) or not categories:
        raise LabelError(f"{path} has no `categories`; give a file as instances_train2014.json")
    names = {}
    for number, category in enumerate(categories, start=1):
        key = category.get("id") if isinstance(category, dict) else None
        if not isinstance(key, Id) or not isinstance(category.get("name"), str):
            raise LabelError(f"{path}, category number {number} needs an `id` and a `name`")
        names[key] = category["name"]
    return names


def _group_annotations(
    content: Mapping[str, Any],
    buffer: bytearray,
    path: Path,
    pictures: Mapping[Id, object],
) -> dict[Id, list[tuple[int, int]]]:
    """Where annotations are in the buffer, by picture id."""
    if not isinstance(content["annotations"], list):
        raise LabelError(f"{path}: `annotations` is no list")
    groups: dict[Id, list[tuple[int, int]]] = {key: [] for key in pictures}
    for number, item in enumerate(content["annotations"], start=1):
        if not isinstance(item, tuple):
            item = item if isinstance(item, dict) else {}
            missing = "category_id" if "image_id" in item else "image_id"
            raise LabelError(
                f"{path}, annotation {item.get('id', f'number {number}')} has no `{missing}`; "
                "give a file of instances, as instances_train2014.json"
            )
        key, start, end = item
        if not isinstance(key, Id) or key not in groups:
            where = f"{path}, annotation {marshal.loads(buffer[start:end])[0]}"
            raise LabelError(f"{where}: image_id {key} is not among its `images`")
        groups[key].append((start, end))
    return groups


def _require_listed(
    wanted: Sequence[Id],
    ids: Path | None,
    pictures: Mapping[Id, object],
    annotations: Path,
) -> None:
    unknown = [key for key in wanted if key not in pictures]
    if unknown:
        raise LabelError(
            f"{ids} lists {len(unknown)} pictures that {annotations} does not have, "
            f"the first is {unknown[0]}"
        )


def _read_numbers(values: object) -> list[float] | None:
    """A list of numbers; None if it is something else."""
    if not isinstance(values, list) or not all(type(value) in (int, float) for value in values):
        return None
    try:
        return [float(value) for value in values]
    except OverflowError:
        return None


def _read_outline(
    segmentation: object, where: str
) -> tuple[tuple[float, ...], ...] | dict[str, object] | None:
    if segmentation is None or isinstance(segmentation, dict):
        return segmentation
    polygons = []
    for values in segmentation if isinstance(segmentation, list) else [None]:
        numbers = _read_numbers(values)
        if numbers is None:
            raise LabelError(
                f"{where}: segmentation is neither a list of polygons nor a run-length code"
            )
        polygons.append(tuple(numbers))
    return tuple(polygons)
