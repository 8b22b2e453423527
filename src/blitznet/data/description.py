"""The data description: one YAML file that says where images and labels are."""

import unicodedata
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any, get_args

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator

from blitznet.classes import COCO_CLASSES, VOC_CLASSES
from blitznet.data.coco import CocoEntry
from blitznet.data.labels import IGNORE
from blitznet.data.mask_folder import MaskFolderEntry
from blitznet.data.source import LabelSource
from blitznet.data.voc import SbdEntry, VocEntry
from blitznet.data.yolo import YoloEntry, names_of
from blitznet.errors import LabelError, closest, first_problem, shown
from blitznet.files.text_files import describe_non_text, read_yaml

# With background and void, these are all values of an 8-bit map.
MAX_CLASSES = 254
MAX_NAME = 200

# To add a format, write its entry and reader in one file and add the entry here.
Entry = Annotated[
    CocoEntry | MaskFolderEntry | SbdEntry | VocEntry | YoloEntry, Field(discriminator="format")
]


def _problem_of_name(name: str) -> str | None:
    """Why a class cannot have this name; None if it can."""
    if name in ("", IGNORE, "*"):
        return "it is empty" if not name else "a label map gives it another meaning"
    if name != name.strip():
        return "it begins or ends with a blank"
    if any(unicodedata.category(letter) in ("Cc", "Zl", "Zp") for letter in name):
        return "it contains a line break, a tab or another control character"
    return f"it is longer than {MAX_NAME} characters" if len(name) > MAX_NAME else None


class DataDescription(BaseModel):
    """The content of a DATA.yaml.

    Attributes:
        classes: names, background first.
        splits: entries by split name: train, val and any other.
        folder: base of relative paths.
    """

    model_config = ConfigDict(frozen=True)

    classes: tuple[str, ...]
    splits: dict[str, Annotated[list[Entry], Field(min_length=1)]]
    folder: Path = Field(default=Path())

    @field_validator("classes", mode="before")
    @classmethod
    def _by_name(cls, value: object) -> object:
        if value in ("voc", "coco"):
            return VOC_CLASSES if value == "voc" else COCO_CLASSES
        if not isinstance(value, list) or not value:
            raise ValueError(
                f"give voc, coco or a list of names without background, not {shown(value)}"
            )
        for name in value:
            if not isinstance(name, str):
                raise ValueError(describe_non_text(name))
            if problem := _problem_of_name(name):
                raise ValueError(f"{shown(name)} cannot be the name of a class: {problem}")
        if len(value) > MAX_CLASSES:
            raise ValueError(f"{len(value)} classes; a network has at most {MAX_CLASSES}")
        if len(set(value)) < len(value) or "background" in value:
            raise ValueError("class names must differ, and background is implied")
        return ("background", *value)

    def entries(self, split: str) -> list[Entry]:
        """The sources of one split, not opened.

        Raises:
            LabelError: if there is no such split.
        """
        if split not in self.splits:
            raise LabelError(
                f"the data description has no split {split!r}; there are {', '.join(self.splits)}"
            )
        return self.splits[split]

    def open_split(self, split: str) -> list[LabelSource]:
        """Open the sources of one split.

        Raises:
            LabelError: if there is no such split or a source cannot be opened.
        """
        return [entry.open(self.folder, self.classes) for entry in self.entries(split)]


def read_description(path: Path) -> DataDescription:
    """Read a DATA.yaml; paths in it are relative to its folder.

    Also reads Ultralytics' data.yaml, which has `names` instead of `classes`. `val` may be a number
    instead of a list: that share of the training images, chosen at random but always the same, is
    held out.

    Raises:
        LabelError: if the file is missing, not YAML, or not a valid description.
    """
    content = read_yaml(path, LabelError)
    if isinstance(content, dict) and "names" in content and "classes" not in content:
        content = _of_ultralytics(content, path)
    if not isinstance(content, dict) or "classes" not in content:
        raise LabelError(
            f"{path} is not a data description; it needs `classes` and splits such as `train`"
        )
    splits = {name: entries for name, entries in content.items() if name != "classes"}
    train, share = splits.get("train"), splits.get("val")
    if isinstance(share, int | float | str) and isinstance(train, list):
        if not (isinstance(share, float) and 0 < share < 1):
            raise LabelError(
                f"{path}: val is {shown(share)}; give a list of sources, or a share of the "
                "training images, such as 0.1"
            )
        for split, part in (("val", (0, share)), ("train", (share, 1))):
            splits[split] = [_with_part(entry, part) for entry in train]
    for split, entries in splits.items():
        if not isinstance(entries, list):
            raise LabelError(
                f"{path}: {split}: a split is a list of sources, like [{{format: yolo, root: mine, "
                f"names: names.txt}}], got {shown(entries)}"
            )
    try:
        description = DataDescription(classes=content["classes"], splits=splits, folder=path.parent)
    except ValidationError as error:
        raise LabelError(f"{path}: {_problem_of(error)}") from None
    for split in ("train", "val"):
        for number, entry in enumerate(description.splits.get(split, ())):
            if not entry.is_labelled:
                raise LabelError(
                    f"{path}: {_place(('splits', split, number))}: a source to train with needs "
                    "boxes: true, masks: FOLDER, or both"
                )
    return description


def _with_part(entry: Any, part: tuple[float, float]) -> Any:
    """An entry as written, limited to a part of the images that it had."""
    try:
        first, last = entry.get("part") or (0, 1)
        return entry | {"part": [first + share * (last - first) for share in part]}
    except (AttributeError, TypeError, ValueError):  # reported later
        return entry


def _of_ultralytics(content: dict[str, Any], path: Path) -> dict[str, Any]:
    """Convert a YOLO data.yaml to a data description; polygons give segmentation maps."""
    description: dict[str, Any] = {"classes": list(names_of(content, path))}
    for split in ("train", "val", "test"):
        places = content.get(split)
        if isinstance(places, str | list) and places:
            entry = YoloEntry(data=Path(path.name), split=split)
            masks = {"masks": "from_instances"} if entry.has_polygons(path.parent) else {}
            description[split] = [{"format": "yolo", "data": path.name, "split": split, **masks}]
        elif places:
            description[split] = places  # share of a validation split
    return description


def _problem_of(error: ValidationError) -> str:
    """Describe the first problem in one line; for an unknown key, list the valid ones."""
    problems = error.errors()
    # A missing key may be there misspelt, so unknown keys are reported first.
    problem = next((one for one in problems if one["type"] == "extra_forbidden"), problems[0])
    entries = get_args(get_args(Entry)[0])
    formats = {get_args(entry.model_fields["format"].annotation)[0]: entry for entry in entries}
    place = _place(problem["loc"][:3])
    if problem["type"].startswith("union_tag"):
        return f"{place}: format is one of {', '.join(formats)}, got {shown(problem['input'])}"
    if problem["type"] != "extra_forbidden":
        return first_problem(error, _place)
    kind, key = map(str, problem["loc"][3:])
    near = closest(key, formats[kind].model_fields)
    hint = f"did you mean {near!r}? " if near else ""
    return (
        f"{place}: there is no key {shown(key)} in format {kind}; {hint}there are "
        f"{', '.join(sorted(formats[kind].model_fields))}"
    )


def _place(location: Sequence[int | str]) -> str:
    """Name pydantic's location, such as splits, train, 0, voc, root: "train, source 1, root"."""
    if location[0] != "splits":
        return ".".join(map(str, location))
    _, *places = location
    if len(places) > 1 and isinstance(places[1], int):
        places[1:3] = [f"source {places[1] + 1}"]  # the next one is the format
    return ", ".join(map(str, places))
