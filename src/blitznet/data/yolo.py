"""YOLO: one text file per image, one row per object, in fractions of the image's sides.

Layouts: Ultralytics' twin folders `images` and `labels`, its data.yaml, lists of images, and
labels beside the images (Darknet, labelImg).
"""

from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal

from pydantic import model_validator

from blitznet.data.image_files import (
    file_key,
    find_images,
    find_maps,
    lookalikes,
    read_list,
    require_folder,
)
from blitznet.data.labels import MAX_OBJECTS, ObjectLabel
from blitznet.data.seg_map import MAX_VALUE, read_lines
from blitznet.data.source import CodedEntry, ImageFiles, ObjectsAndSize, ReadLabels, read_files
from blitznet.errors import LabelError, shown
from blitznet.files.plain_names import is_possible_path
from blitznet.files.text_files import describe_non_text, read_text, read_yaml

IMAGES, LABELS = "images", "labels"  # twin folders

# Fractions may slightly exceed 0..1; a larger value is not a fraction.
MAX_FRACTION = 1.5

# Other text files that tools write beside labels.
_OTHER_TEXTS = frozenset(
    ("classes.txt", "labels.txt", "notes.txt", "README.txt", "train.txt", "val.txt", "test.txt")
)

_BOX_COLUMNS = 5
_MIN_POLYGON_COLUMNS = 7  # three points
_ROW = "a row is CLASS CX CY W H, or CLASS and the X Y of three or more points"


class YoloEntry(CodedEntry):
    """`format: yolo`; its images come from `root`, `data` or `images`.

    Attributes:
        root: folder with subfolders `images` and `labels`, or with images and labels side by side.
        data: a data.yaml, which contains the class names and the paths of `split`.
        split: split of the data.yaml.
        images: a folder of images, or a text file that lists them. Labels are in the twin folder
            (the last `images` in an image's path becomes `labels`), or beside the images.
        labels: folder of labels, with the layout of `images`; listed images are found by name only.
            An image without a file has no objects. A polygon row also gives the box around it.
        names: class names in order: a list, or a text file with one per line. In maps without codes
            of their own, 0 is background, i + 1 is `names[i]` and 255 is void.
        suffix: what a map's name has after the image's, such as "_mask".
    """

    format: Literal["yolo"] = "yolo"
    root: Path | None = None
    data: Path | None = None
    split: str | None = None
    images: Path | None = None
    labels: Path | None = None
    names: tuple[str, ...] | Path | None = None
    suffix: str = ""

    @model_validator(mode="after")
    def _is_complete(self) -> "YoloEntry":
        if [self.root, self.data, self.images].count(None) != 2:
            raise ValueError("YOLO needs one of root: FOLDER, data: data.yaml, images: FOLDER")
        if (self.data is None) != (self.split is None):
            raise ValueError("data: data.yaml and its split: NAME go together")
        if (self.data is None) == (self.names is None):
            raise ValueError("YOLO needs names: FILE or a list; with data: they are in that file")
        if self.labels is not None and self.images is None:
            raise ValueError("labels: needs images:")
        return self

    def find_images(self, folder: Path) -> tuple[list[ImageFiles], ReadLabels]:
        """See `SourceEntry`; two images must not share a label file."""
        names, places, num_keypoints = self._read_places(folder)
        labels, option = None if self.labels is None else folder / self.labels, IMAGES
        if self.root is not None and places == [folder / self.root]:
            labels, option = places[0], "root"
        keyed = [one for place in places for one in _find_labelled(place, labels, option)]
        owners: dict[Path, Path] = {}
        for _, image, text in keyed:
            if (first := owners.setdefault(text, image)) != image:
                raise LabelError(
                    f"{first} and {image} share the labels {text}; rename or remove one"
                )
        has_rows = self.boxes or self.masks in ("from_instances", "from_boxes")
        if has_rows and not any(text.is_file() for text in owners):
            _, image, text = keyed[0]
            raise LabelError(
                f"no image has a label file: {text} would be that of {image}; check `labels`, or "
                "make an empty file for an image without objects"
            )
        maps: dict[str, Path] = {}
        if isinstance(self.masks, Path):
            maps = find_maps(folder / self.masks, [key for key, _, _ in keyed], self.suffix)
        codes = self.codes(folder, ["background", *names[: MAX_VALUE - 1]])
        read = partial(read_rows, names=names, num_keypoints=num_keypoints) if has_rows else None
        found = [ImageFiles(image, text, maps.get(key)) for key, image, text in keyed]
        return found, partial(read_files, read, codes, in_fractions=True)

    def _read_places(self, folder: Path) -> tuple[Sequence[str], list[Path], int]:
        """Class names, folders or lists of images, and the number of keypoint values per row."""
        if self.data is not None and self.split is not None:
            return _read_data_yaml(folder / self.data, self.split)
        names, place = self.names, folder / (self.images or self.root or "")
        if isinstance(names, Path):
            names = _checked_names(folder / names, read_lines(folder / names))
        assert names is not None  # `_is_complete`
        if self.root is not None and (place / IMAGES).is_dir():
            place /= IMAGES
        return names, [place], 0

    def unclaimed_files(
        self, folder: Path, found: Sequence[ImageFiles]
    ) -> Iterator[tuple[Path, Path | None]]:
        """See `SourceEntry`: other text files in the label folders, or lookalikes for a list."""
        claimed = {image.objects for image in found if image.objects is not None}
        lists = {folder / path for path in (self.names, self.images) if isinstance(path, Path)}
        others = {
            path
            for parent in {path.parent for path in claimed}
            for path in parent.iterdir()
            if path.suffix.lower() == ".txt" and not path.name.startswith(".")
            if path not in claimed | lists and path.name not in _OTHER_TEXTS
        }
        near = dict(lookalikes(others, [path for path in claimed if not path.is_file()]))
        are_listed = any(place.is_file() for place in self._read_places(folder)[1])
        for path in sorted(near if are_listed else others):
            yield path, near.get(path)

    def has_polygons(self, folder: Path) -> bool:
        """Whether the first image with objects has a polygon; False if no label can be read."""
        try:
            names, places, num_keypoints = self._read_places(folder)
            texts = (text for place in places for _, _, text in _find_labelled(place))
            rows = (read_rows(text, names, num_keypoints)[0] for text in texts)
            return any(one.outline is not None for one in next(filter(None, rows), ()))
        except LabelError:
            return False


def _find_labelled(
    place: Path, labels: Path | None = None, option: str = IMAGES
) -> Iterator[tuple[str, Path, Path]]:
    """Yield the name of the map, the image and its label file, for each image of a folder or list.

    `place` and `labels` are `images` and `labels` of `YoloEntry`; `option` is the key of `place`.
    """
    is_list = place.is_file()
    images = list(_read_image_list(place)) if is_list else find_images(place, option)
    if labels is not None:
        require_folder(labels, LABELS)
    for path in images:
        key = path.stem if is_list else file_key(path, place)
        yield key, path, labels_of(path) if labels is None else labels / f"{key}.txt"


def labels_of(image: Path) -> Path:
    """The label file of an image: in the twin folder, or beside the image if only that exists.

    In the path of the twin folder, `labels` replaces the last `images`.
    """
    beside, parts = image.with_suffix(".txt"), list(image.parent.parts)
    if IMAGES not in parts:
        return beside
    parts[len(parts) - 1 - parts[::-1].index(IMAGES)] = LABELS
    twin = Path(*parts)
    return beside if beside.is_file() and not twin.is_dir() else twin / beside.name


def _read_image_list(path: Path) -> Iterator[Path]:
    """Yield the images listed in a text file, one per line, relative to its folder.

    Lines of CVAT's Darknet lists begin with `data/`, which stands for the folder of the list.
    """
    for number, line in enumerate(read_list(path), start=1):
        portable = line.replace("\\", "/")  # Windows separators
        names = line, portable, portable.removeprefix("data/")
        found = next((name for name in names if (path.parent / name).is_file()), None)
        if found is None:
            raise LabelError(f"{path}, image {number}: {path.parent / line} does not exist")
        yield path.parent / found


def _read_data_yaml(path: Path, split: str) -> tuple[tuple[str, ...], list[Path], int]:
    """Class names, folders or lists of one split, and keypoint values per row, from a data.yaml.

    Paths are relative to its `path`, which is relative to the file. As in Ultralytics, the leading
    `../` of Roboflow's paths is dropped if it leads nowhere.
    """
    content = read_yaml(path, LabelError)
    names, places = names_of(content, path), content.get(split)
    places = [places] if isinstance(places, str) else places
    if not places:
        there = [key for key in ("train", "val", "test") if content.get(key)]
        raise LabelError(f"{path} has no split {split!r}; there are {', '.join(there) or 'none'}")
    if not isinstance(places, list) or {type(place) for place in places} != {str}:
        raise LabelError(
            f"{path}: {split} is not a path or a list of paths, as a data.yaml with `names` "
            "needs; with sources such as {format: yolo, ...}, write `classes` for `names`"
        )
    base, found = path.parent / str(content.get("path") or ""), list[Path]()
    for place in places:
        tried = base / place
        if not is_possible_path(tried):
            raise LabelError(f"{path}: no file system has the path {shown(place)}")
        found.append(tried if tried.exists() else base / place.removeprefix("../"))
        if not found[-1].exists():
            raise LabelError(f"{tried} does not exist; correct the paths in {path}")
    shape = content.get("kpt_shape") or [0, 0]  # keypoints, and 2 or 3 values for each
    if not isinstance(shape, list) or [type(side) for side in shape] != [int, int]:
        raise LabelError(f"{path}: kpt_shape is {shown(shape)}; it needs two numbers, like [17, 3]")
    return names, found, shape[0] * shape[1]


def names_of(content: Any, path: Path) -> tuple[str, ...]:
    """Class names of a parsed data.yaml, in order.

    Raises:
        LabelError: if it has no usable names.
    """
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, dict):
        by_number = {str(number): name for number, name in names.items()}
        if by_number.keys() != {str(number) for number in range(len(names))}:
            raise LabelError(f"{path}: the numbers of `names` are not 0 to {len(names) - 1}")
        names = [by_number[str(number)] for number in range(len(names))]
    if names and not isinstance(names, list):
        raise LabelError(f"{path}: `names` is {shown(names)}; it needs a list, like [cat, dog]")
    if not isinstance(names, list):
        raise LabelError(f"{path} is not a YOLO data.yaml: it has no `names`")
    for name in names:
        if not isinstance(name, str | int) or isinstance(name, bool):
            raise LabelError(f"{path}: `names`: {describe_non_text(name)}")
    return _checked_names(path, [str(name) for name in names])


def _checked_names(path: Path, names: Sequence[str]) -> tuple[str, ...]:
    if not names or "" in names:
        raise LabelError(f"{path} has a blank line or no name; it needs one name per class")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise LabelError(f"{path} has two classes {shown(twice)}")
    return tuple(names)


def read_rows(path: Path, names: Sequence[str], num_keypoints: int = 0) -> ObjectsAndSize:
    """Read the objects of one label file; a missing file has none. Keypoints are ignored.

    Raises:
        LabelError: if the file is not text, or has too many rows.
    """
    lines = read_text(path, LabelError).splitlines() if path.exists() else []
    if len(lines) > MAX_OBJECTS:
        raise LabelError(f"{path} has {len(lines)} rows; an image has at most {MAX_OBJECTS}")
    objects = tuple(
        _read_row(line.split(), names, f"{path}, line {number}", num_keypoints)
        for number, line in enumerate(lines, start=1)
        if line.strip()
    )
    return objects, None  # rows do not state a size


def _read_row(
    columns: Sequence[str], names: Sequence[str], where: str, num_keypoints: int
) -> ObjectLabel:
    if num_keypoints and len(columns) == _BOX_COLUMNS + num_keypoints:
        columns = columns[:_BOX_COLUMNS]
    try:
        name = _class_name(columns[0], names)
    except LabelError as error:
        return ObjectLabel(None, None, where, str(error))
    count, written = len(columns), " ".join(columns[1:])
    if num_keypoints and count != _BOX_COLUMNS:
        text = f"{count} columns; with this kpt_shape a row has {_BOX_COLUMNS + num_keypoints}"
        return ObjectLabel(name, None, where, text)
    if count != _BOX_COLUMNS and (count < _MIN_POLYGON_COLUMNS or count % 2 == 0):
        hint = " (remove the score or track id at the end)" if count == _BOX_COLUMNS + 1 else ""
        return ObjectLabel(name, None, where, f"{count} columns; {_ROW}{hint}")
    try:
        values = [float(column) for column in columns[1:]]
    except ValueError:
        text = f"{shown(written)} are not all numbers; {_ROW}"
        return ObjectLabel(name, None, where, text)
    if abs(largest := max(values, key=abs)) > MAX_FRACTION:
        text = f"{largest:g} is not a fraction; divide x by the width of the image and y by its"
        return ObjectLabel(name, None, where, f"{text} height")
    if count == _BOX_COLUMNS:
        cx, cy, width, height = values
        box = cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2
        return ObjectLabel(name, box, where, written)
    box = min(values[::2]), min(values[1::2]), max(values[::2]), max(values[1::2])
    written = f"around a polygon, {[round(value, 6) for value in box]},"
    return ObjectLabel(name, box, where, written, outline=(values,))


def _class_name(text: str, names: Sequence[str]) -> str:
    try:
        number = float(text)
    except ValueError:
        raise LabelError(
            f"unknown class {shown(text)}; a row begins with the number of its class"
        ) from None
    if number not in range(len(names)):
        raise LabelError(f"unknown class {text}; only 0 to {len(names) - 1} have names")
    return names[int(number)]
