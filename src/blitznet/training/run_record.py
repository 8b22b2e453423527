"""The record of a run, `run.json`: what is needed to resume and reproduce it."""

import hashlib
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from blitznet.data.description import DataDescription
from blitznet.data.labels import ImageLabels
from blitznet.data.seg_map import MapFile
from blitznet.errors import InputError, RecipeError, first_problem
from blitznet.files.result_folder import require_usable
from blitznet.files.text_files import read_json, write_json
from blitznet.training.recipe import Recipe

if TYPE_CHECKING:
    from blitznet.training.network import KnownClasses

RUN_FILE = "run.json"

_SUPERVISED = ("supervised_boxes", "supervised_masks")


def require_new(out: Path | None) -> None:
    """Check that a new run can be written to a folder.

    Raises:
        InputError: if `out` is not empty, or not a folder.
    """
    if out is not None and (out / RUN_FILE).is_file():
        raise InputError(
            f"{out} holds a run; continue it with --resume {out} if it is unfinished, or name "
            "another folder"
        )
    require_usable(out, overwrite=None)


def write_run(
    folder: Path,
    recipe: Recipe,
    data: Path,
    description: DataDescription,
    supervised: "KnownClasses",
    precision: str,
) -> None:
    """Write the record of a new run.

    Args:
        folder: folder of the run.
        recipe: recipe fitted to the data.
        data: path of the data description.
        description: the data description.
        supervised: classes that each head learns from labels or already knows.
        precision: precision of the computations.
    """
    content = {
        "recipe": recipe.model_dump(mode="json"),
        "data": str(data.resolve()),
        "data_state": _state_of(description),
        **dict(zip(_SUPERVISED, supervised, strict=True)),
        "precision": precision,
        "command": sys.argv,
        "environment": {
            "commit": _commit(),
            "python": platform.python_version(),
            "platform": platform.platform(),
            **{
                package: version(package)
                for package in ("blitznet", "torch", "torchvision", "timm")
            },
        },
    }
    write_json(folder / RUN_FILE, content)


def _state_of(description: DataDescription) -> dict[str, str]:
    """The state of the data: the classes, and digests of sources, images and labels per split."""
    state = {"classes": ", ".join(description.classes[1:])}
    for split in sorted({"train", "val"} & description.splits.keys()):
        entries = [entry.model_dump(mode="json") for entry in description.entries(split)]
        state[f"sources of {split}"] = _digest([repr(entries)])
        images, labels = [], []
        for source in description.open_split(split):
            for index in range(len(source)):
                with suppress(InputError):  # an image that --skip-bad skips
                    found = source.labels(index)
                    images.append(_describe_file(found.path))
                    labels.append(_describe_labels(found))
        state[f"images of {split}"], state[f"labels of {split}"] = _digest(images), _digest(labels)
    return state


def _digest(parts: Iterable[str]) -> str:
    content = "".join(f"{part}\n" for part in parts).encode(errors="surrogateescape")
    return hashlib.sha256(content).hexdigest()[:16]


def _describe_file(path: Path) -> str:
    """Name and size of a file, not its folder: a dataset may be moved during a run."""
    return f"{path.name} {path.stat().st_size if path.is_file() else None}"


def _describe_labels(labels: ImageLabels) -> str:
    """Objects and map file of an image as text for the digest."""
    objects = [(one.name, one.box, one.ignore) for one in labels.objects or ()]
    maps = [labels.path] if labels.seg_map is None else _describe_map(labels.seg_map)
    files = [_describe_file(one) if isinstance(one, Path) else one for one in maps]
    return f"{labels.objects is None} {objects} {files}"


def _describe_map(part: object) -> list[Path | str]:
    """Files of a map, and digests of the objects that it is made from."""
    if isinstance(part, MapFile):
        return [part.path]
    if isinstance(part, ImageLabels) and part.objects:
        return [_digest(repr((one.box, one.outline)) for one in part.objects)]
    if isinstance(part, partial):
        return [found for argument in part.args for found in _describe_map(argument)]
    return []


def _commit() -> str | None:
    """The commit of the package's checkout, with a + if there are uncommitted changes."""
    try:
        return subprocess.run(
            ["git", "describe", "--always", "--abbrev=40", "--exclude=*", "--dirty=+"],
            cwd=Path(__file__).parent,
            capture_output=True,
            text=True,
            check=True,
        ).stdout.strip()
    except (OSError, subprocess.CalledProcessError):  # no git, or an installed package
        return None


def read_run(folder: Path) -> tuple[Recipe, Path]:
    """Read recipe and path of the data description of a run.

    Raises:
        RecipeError: if the folder contains no run.
    """
    content = _read(folder)
    try:
        return Recipe.model_validate(content["recipe"]), Path(content["data"])
    except ValidationError as error:
        raise RecipeError(f"{folder / RUN_FILE}: {first_problem(error)}") from None
    except (KeyError, TypeError) as error:
        raise RecipeError(f"{folder / RUN_FILE} is damaged: {error!r}") from None


def require_unchanged(
    folder: Path, description: DataDescription, trained: Mapping[str, Any] | None
) -> None:
    """Check that data and recipe of a resumed run have not changed since it began.

    Args:
        folder: folder of the run.
        description: its data description as it is now.
        trained: fields of the recipe in the run's state; None = unknown.

    Raises:
        RecipeError: for the first difference.
    """
    content = _read(folder)
    trained = content["recipe"] if trained is None else trained
    for name, value in content["recipe"].items():
        if trained.get(name) != value:
            raise RecipeError(
                f"{folder / RUN_FILE} has changed since the run began: {name} was "
                f"{trained.get(name)!r}, now it is {value!r}; put it back or start a new run"
            )
    then = content.get("data_state", {})  # missing in runs of earlier versions
    now = _state_of(description) if then else {}
    for name in then | now:
        if then.get(name) != now.get(name):
            was = f" were {then[name]}, now they are {now[name]};" if name == "classes" else ";"
            raise RecipeError(
                f"{content['data']} has changed since the run began: {name}{was} put them back, or "
                "start a new run"
            )


def read_supervised(folder: Path) -> dict[str, list[str] | None]:
    """The supervised classes of a run, as fields of `CheckpointInfo`; None = unknown."""
    content = _read(folder) if (folder / RUN_FILE).is_file() else {}
    return {name: content.get(name) for name in _SUPERVISED}


def _read(folder: Path) -> dict[str, Any]:
    path = folder / RUN_FILE
    if not path.is_file():
        raise RecipeError(f"{folder} holds no run ({RUN_FILE} is missing)")
    content = read_json(path, RecipeError)
    if not isinstance(content, dict) or not isinstance(content.get("recipe"), dict):
        raise RecipeError(f"{path} is damaged: it has no recipe")
    return content
