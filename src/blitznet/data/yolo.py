"""YOLO: one text file per image, one row per object, in fractions of the image's sides.

Layouts: Ultralytics' twin folders `images` and `labels`, its data.yaml, lists of images, and
labels beside the images (Darknet, labelImg).
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Literal, NamedTuple

from pydantic import model_validator

from blitznet.data.image_files import file_key, find_images, find_maps, lookalikes
from blitznet.data.labels import MAX_OBJECTS, ImageLabels, ObjectLabel
from blitznet.data.map_encoding import CodedEntry, read_lines, value_codes
from blitznet.data.seg_map import MAX_VALUE, MapEncoding, MapFile
from blitznet.data.source import ReadLabels
from blitznet.errors import LabelError, shown
from blitznet.plain_names import is_possible_path
from blitznet.text_files import describe_non_text, read_text, read_yaml

IMAGES, LABELS = "images", "labels"  # twin folders

# Fractions may leave 0..1 by a little; what is beyond this was never a fraction.
MAX_FRACTION = 1.5

# What tools leave beside labels.
_OTHER_TEXTS = frozenset(
    ("classes.txt", "labels.txt", "notes.txt", "README.txt", "train.txt", "val.txt", "test.txt")
)

_BOX_COLUMNS = 5
_MIN_POLYGON_COLUMNS = 7  # three points
_ROW = "a row is CLASS CX CY W H, or CLASS and the X Y of three or more points"


class YoloEntry(CodedEntry):
    """`format: yolo`; its images come from `root`, `data` or `images`.

    Attributes:
        root: folder with `images` and `labels` in it, or with images and labels side by side.
        data: a data.yaml; its `split` says where images are, its `names` what classes are called.
        split: of the data.yaml.
        images: a folder of images, or a text file that lists them. Labels are in the twin folder:
            the last `images` in the path of an image becomes `labels`; where there is none they
            lie beside the images.
        labels: folder of labels, laid out as `images`; of listed images by name alone. An image
            without a file has no objects. A row of a polygon is also the box around it.
        names: class names in the order of their numbers: a list, or a text file, one a line. In
            maps without codes of their own 0 is background, i + 1 is `names[i]`, 255 is void.
    """

    format: Literal["yolo"] = "yolo"
    root: Path | None = None
    data: Path | None = None
    split: str | None = None
    images: Path | None = None
    labels: Path | None = None
    names: tuple[str, ...] | Path | None = None

    @model_validator(mode="after")
    def _is_complete(self) -> "YoloEntry":
        if [self.root, self.data, self.images].count(None) != 2:
            raise ValueError("YOLO needs one of root: FOLDER, data: data.yaml, images: FOLDER")
        if (self.data is None) != (self.split is None):
            raise ValueError("data: data.yaml and its split: NAME go together")
        if (self.data is None) == (self.names is None):
            raise ValueError("YOLO needs names: FILE or a list; with data: they are in that file")
        if self.labels is not None and self.images is None:
            raise ValueError("labels: goes with images:")
        return self

    def find_images(self, folder: Path) -> tuple[Sequence[Any], ReadLabels]:
        """See `SourceEntry`; images must not share a text file."""
        names, files, num_keypoints, _ = _find_files(self, folder)
        _require_own_files(files)
        if self._has_rows and not any(file.labels.is_file() for file in files):
            first = files[0]
            raise LabelError(
                f"no image has a file of labels: {first.labels} would be that of {first.path}; "
                "check `labels`, or make an empty file for an image without objects"
            )
        maps: dict[str, Path] = {}
        if isinstance(self.masks, Path):
            maps = find_maps(folder / self.masks, [file.key for file in files])
        default = value_codes(dict(enumerate(("background", *names[: MAX_VALUE - 1]))))
        codes = self.codes(folder, default)
        return files, partial(self._read_labels, names, num_keypoints, maps, codes)

    def unclaimed_files(self, folder: Path) -> Iterator[tuple[Path, Path | None]]:
        """See `SourceEntry`: text files beside those of the images."""
        files = _find_files(self, folder)
        claimed = {image.labels for image in files.images}
        lists = {folder / path for path in (self.names, self.images) if isinstance(path, Path)}
        others = {
            path
            for parent in {path.parent for path in claimed}
            for path in parent.glob("*.txt")
            if path not in claimed | lists and path.name not in _OTHER_TEXTS
        }
        near = dict(lookalikes(others, [path for path in claimed if not path.is_file()]))
        for path in sorted(near if files.are_listed else others):
            yield path, near.get(path)

    @property
    def _has_rows(self) -> bool:
        return self.boxes or self.masks in ("from_instances", "from_boxes")

    def _read_labels(
        self,
        names: Sequence[str],
        num_keypoints: int,
        maps: Mapping[str, Path],
        codes: MapEncoding,
        image: "YoloImage",
    ) -> ImageLabels:
        objects = read_rows(image.labels, names, num_keypoints) if self._has_rows else ()
        seg_map = MapFile(maps[image.key], codes) if image.key in maps else None
        return self.complete(ImageLabels(image.path, objects, seg_map, in_fractions=True))


class YoloImage(NamedTuple):
    """An image and what belongs to it.

    Attributes:
        path: of the image.
        labels: its text file; it need not exist, then there is no object.
        key: the name of its map without ending, see `file_key`.
    """

    path: Path
    labels: Path
    key: str


class YoloFiles(NamedTuple):
    """What an entry finds.

    Attributes:
        names: of the classes, by number.
        images: all images.
        num_keypoints: numbers of a row that follow its box, in pose labels.
        are_listed: whether a text file lists the images; then others may lie beside them.
    """

    names: Sequence[str]
    images: Sequence[YoloImage]
    num_keypoints: int = 0
    are_listed: bool = False


def _find_files(entry: YoloEntry, folder: Path) -> YoloFiles:
    names, num_keypoints, labels, option = entry.names, 0, None, IMAGES
    if entry.data is not None and entry.split is not None:
        names, places, num_keypoints = read_data_yaml(folder / entry.data, entry.split)
    elif entry.images is not None:
        places = [folder / entry.images]
        labels = folder / entry.labels if entry.labels is not None else None
    else:
        root = folder / (entry.root or "")
        places = [root / IMAGES]
        if not places[0].is_dir():
            places, labels, option = [root], root if root.is_dir() else None, "root"
    if isinstance(names, Path):
        names = _checked_names(folder / names, read_lines(folder / names))
    assert names is not None  # `YoloEntry._is_complete`
    images = [item for place in places for item in find_labelled(place, labels, option)]
    return YoloFiles(names, images, num_keypoints, any(place.is_file() for place in places))


def find_labelled(
    place: Path, labels: Path | None = None, option: str = IMAGES
) -> Iterator[YoloImage]:
    """The images of a folder or of a list, and where their labels are.

    Args:
        place: see `YoloEntry.images`.
        labels: see `YoloEntry.labels`.
        option: that names `place`, for messages.

    Raises:
        LabelError: if there is no image, or the folder of labels is missing.
    """
    if labels is not None and not labels.is_dir():
        raise LabelError(f"{labels} does not exist; check `labels`")
    is_list = place.is_file()
    for path in read_image_list(place) if is_list else find_images(place, option):
        key = path.stem if is_list else file_key(path, place)
        text = labels / f"{key}.txt" if labels is not None else _labels_of(path)
        yield YoloImage(path, text, key)


def _labels_of(image: Path) -> Path:
    """The text file of an image: in the twin folder, or beside the image if it lies there."""
    beside = image.with_suffix(".txt")
    twin = twin_folder(image.parent)
    if twin is None or (beside.is_file() and not twin.is_dir()):
        return beside
    return twin / beside.name


def twin_folder(folder: Path) -> Path | None:
    """Where labels are: the last `images` of a path becomes `labels`; None without one."""
    parts = list(folder.parts)
    if IMAGES not in parts:
        return None
    parts[len(parts) - 1 - parts[::-1].index(IMAGES)] = LABELS
    return Path(*parts)


def read_image_list(path: Path) -> list[Path]:
    """The images that a text file lists, one a line, relative to its folder.

    Darknet's lists, as CVAT writes them, begin with `data/`, which is the folder of the list then.

    Raises:
        LabelError: if it is no text, empty, or one of them does not exist.
    """
    images = []
    for number, line in enumerate(read_lines(path), start=1):
        if not line:
            continue
        found = path.parent / line
        if not is_possible_path(found):
            raise LabelError(f"{path}, line {number}: no file system has the path {shown(line)}")
        if not found.is_file() and line.startswith("data/"):
            found = path.parent / line.removeprefix("data/")
        if not found.is_file():
            raise LabelError(f"{path}, line {number}: {path.parent / line} does not exist")
        images.append(found)
    if not images:
        raise LabelError(f"{path} lists no image")
    return images


def read_data_yaml(path: Path, split: str) -> tuple[tuple[str, ...], list[Path], int]:
    """Names, the folders or lists of one split, and numbers behind a row's box, of a data.yaml.

    Paths are relative to its `path`, and that to the file. As Ultralytics does, the `../` with
    which Roboflow begins them is left out where it leads nowhere.

    Raises:
        LabelError: if it is no such file, or has no such split.
    """
    content = read_yaml(path, LabelError)
    names = names_of(content, path)
    places = content.get(split)
    places = [places] if isinstance(places, str) else places
    if not places or not isinstance(places, list) or {type(place) for place in places} != {str}:
        there = [key for key in ("train", "val", "test") if content.get(key)]
        raise LabelError(f"{path} has no split {split!r}; there are {', '.join(there) or 'none'}")
    base = path.parent / str(content.get("path") or "")
    found = [_resolve(base, place, path) for place in places]
    return names, found, _num_keypoints(content.get("kpt_shape"), path)


def names_of(content: Any, path: Path) -> tuple[str, ...]:
    """Class names of a data.yaml that is read, by number.

    Raises:
        LabelError: if it has none that can be used.
    """
    names = content.get("names") if isinstance(content, dict) else None
    if isinstance(names, dict):
        by_number = {str(number): name for number, name in names.items()}
        if by_number.keys() != {str(number) for number in range(len(names))}:
            raise LabelError(f"{path}: the numbers of `names` are not 0 to {len(names) - 1}")
        names = [by_number[str(number)] for number in range(len(names))]
    if not isinstance(names, list):
        raise LabelError(f"{path} is no data.yaml of YOLO: it has no `names`")
    for name in names:
        if not isinstance(name, str | int) or isinstance(name, bool):
            raise LabelError(f"{path}: `names`: {describe_non_text(name)}")
    return _checked_names(path, [str(name) for name in names])


def _num_keypoints(shape: object, path: Path) -> int:
    """Numbers behind the box of a row: points times 2 or 3."""
    if shape is None:
        return 0
    if not isinstance(shape, list) or [type(side) for side in shape] != [int, int]:
        raise LabelError(f"{path}: kpt_shape is {shown(shape)}; it needs two numbers, as [17, 3]")
    return int(shape[0] * shape[1])


def _resolve(base: Path, place: str, data_yaml: Path) -> Path:
    tried = base / place
    if not is_possible_path(tried):
        raise LabelError(f"{data_yaml}: no file system has the path {shown(place)}")
    if not tried.exists() and place.startswith("../"):
        tried = base / place.removeprefix("../")
    if not tried.exists():
        raise LabelError(f"{base / place} does not exist; correct the paths in {data_yaml}")
    return tried


def _checked_names(path: Path, names: Sequence[str]) -> tuple[str, ...]:
    if not names or "" in names:
        raise LabelError(f"{path} has a blank line or no name; it needs one name a class")
    if len(set(names)) < len(names):
        twice = next(name for name in names if names.count(name) > 1)
        raise LabelError(f"{path} has two classes {shown(twice)}")
    return tuple(names)


def _require_own_files(images: Iterable[YoloImage]) -> None:
    first: dict[Path, Path] = {}
    for item in images:
        other = first.setdefault(item.labels, item.path)
        if other != item.path:
            raise LabelError(
                f"{other} and {item.path} share the labels {item.labels}; rename or remove one"
            )


def read_rows(path: Path, names: Sequence[str], num_keypoints: int = 0) -> tuple[ObjectLabel, ...]:
    """The objects of one file; one that does not exist has none. Key points are left out.

    Raises:
        LabelError: if it is no text, or has too many rows.
    """
    if not path.exists():
        return ()
    lines = read_text(path, LabelError).splitlines()
    if len(lines) > MAX_OBJECTS:
        raise LabelError(f"{path} has {len(lines)} rows; an image has {MAX_OBJECTS} at most")
    return tuple(
        _read_row(line.split(), names, f"{path}, line {number}", num_keypoints)
        for number, line in enumerate(lines, start=1)
        if line.strip()
    )


def _read_row(
    columns: Sequence[str], names: Sequence[str], where: str, num_keypoints: int
) -> ObjectLabel:
    if num_keypoints and len(columns) == _BOX_COLUMNS + num_keypoints:
        columns = columns[:_BOX_COLUMNS]
    name, written = _class_name(columns[0], names), " ".join(columns[1:])
    try:
        values = _read_values(columns, num_keypoints)
    except LabelError as error:
        return ObjectLabel(name, None, where, written, str(error))
    if len(columns) == _BOX_COLUMNS:
        cx, cy, width, height = values
        box = cx - width / 2, cy - height / 2, cx + width / 2, cy + height / 2
        return ObjectLabel(name, box, where, written)
    box = min(values[::2]), min(values[1::2]), max(values[::2]), max(values[1::2])
    written = f"around a polygon, {[round(value, 6) for value in box]},"
    return ObjectLabel(name, box, where, written, outline=(values,))


def _class_name(text: str, names: Sequence[str]) -> str:
    """The name of a class number; of no such number, what to call the unknown class."""
    try:
        number = float(text)
    except ValueError:
        return f"{text} (a row begins with the number of its class)"
    if number in range(len(names)):
        return names[int(number)]
    return f"number {text} (names end at {len(names) - 1})"


def _read_values(columns: Sequence[str], num_keypoints: int) -> list[float]:
    """The numbers behind the class.

    Raises:
        LabelError: if they are no fractions of a box or a polygon.
    """
    count = len(columns)
    if num_keypoints and count != _BOX_COLUMNS:
        wanted = _BOX_COLUMNS + num_keypoints
        raise LabelError(f"{count} columns; with this kpt_shape a row has {wanted}")
    if count != _BOX_COLUMNS and (count < _MIN_POLYGON_COLUMNS or count % 2 == 0):
        hint = " (a score or a track at the end has to go)" if count == _BOX_COLUMNS + 1 else ""
        raise LabelError(f"{count} columns; {_ROW}{hint}")
    try:
        values = [float(column) for column in columns[1:]]
    except ValueError:
        raise LabelError(f"{shown(' '.join(columns[1:]))} are not all numbers; {_ROW}") from None
    largest = max(values, key=abs)
    if abs(largest) > MAX_FRACTION:
        raise LabelError(
            f"{largest:g} is not a fraction; divide x by the width of the image and y by its height"
        )
    return values
