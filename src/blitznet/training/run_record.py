"""What a run folder says of its run: enough to resume it, to repeat it, to trust its figures."""

import hashlib
import platform
import subprocess
import sys
from collections.abc import Iterable, Mapping
from contextlib import suppress
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pydantic import ValidationError

from blitznet.data.description import DataDescription
from blitznet.data.labels import ImageLabels
from blitznet.errors import InputError, RecipeError, first_problem
from blitznet.files.text_files import read_json, write_json
from blitznet.training.recipe import Recipe

if TYPE_CHECKING:
    from blitznet.training.network import KnownClasses

RUN_FILE = "run.json"

_SUPERVISED = ("supervised_boxes", "supervised_masks")


def write_run(
    folder: Path,
    recipe: Recipe,
    data: Path,
    description: DataDescription,
    supervised: "KnownClasses",
    precision: str,
) -> None:
    """What a run that begins is made of.

    Args:
        folder: of the run.
        recipe: fitted to the data.
        data: its description's file.
        description: that it holds.
        supervised: classes that labels show to each head, or that it already knows.
        precision: that is computed in.
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
    """Of all that a run reads: classes as they are, and a digest of each part."""
    state = {"classes": ", ".join(description.classes[1:])}
    for split in sorted({"train", "val"} & description.splits.keys()):
        entries = [entry.model_dump(mode="json") for entry in description.entries(split)]
        state[f"sources of {split}"] = _digest([repr(entries)])
        images, labels = [], []
        for source in description.open_split(split):
            for index in range(len(source)):
                with suppress(InputError):  # an image that --skip-bad leaves out
                    found = source.labels(index)
                    images.append(_describe_file(found.path))
                    labels.append(_describe_labels(found))
        state[f"images of {split}"], state[f"labels of {split}"] = _digest(images), _digest(labels)
    return state


def _digest(parts: Iterable[str]) -> str:
    digest = hashlib.sha256()
    for part in parts:
        digest.update(f"{part}\n".encode(errors="surrogateescape"))
    return digest.hexdigest()[:16]


def _describe_file(path: Path) -> str:
    """Name and size: a data set may be moved during a run, but not changed."""
    return f"{path.name} {path.stat().st_size if path.is_file() else None}"


def _describe_labels(labels: ImageLabels) -> str:
    """What decides its boxes and its map."""
    objects = [(one.name, one.box, one.ignore) for one in labels.objects or ()]
    files = [v for v in vars(labels.seg_map or labels).values() if isinstance(v, Path)]
    return f"{labels.objects is None} {objects} {[_describe_file(path) for path in files]}"


def _commit() -> str | None:
    """Of the checkout that the package is imported from, with a + if it was changed since."""
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
    """Recipe and data description of a run, to resume it.

    Raises:
        RecipeError: if the folder holds no run.
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
    """Check that data and recipe of a resumed run are those it began with.

    Args:
        folder: of the run.
        description: of its data, as it is now.
        trained: fields of the recipe that its state was trained with; None = unknown.

    Raises:
        RecipeError: for the first difference.
    """
    content = _read(folder)
    wanted = content["recipe"]
    for name in wanted if trained is not None else ():
        if trained is not None and trained.get(name) != wanted[name]:
            raise RecipeError(
                f"{folder / RUN_FILE} has changed since the run began: {name} was "
                f"{trained.get(name)!r}, now it is {wanted[name]!r}; put it back or start a new run"
            )
    then = content.get("data_state", {})  # none in runs of earlier versions
    now = _state_of(description) if then else {}
    for name in then | now:
        if then.get(name) != now.get(name):
            was = f" were {then[name]}, now they are {now[name]};" if name == "classes" else ";"
            raise RecipeError(
                f"{content['data']} has changed since the run began: {name}{was} put them back, or "
                "start a new run"
            )


def read_supervised(folder: Path) -> dict[str, list[str] | None]:
    """The fields of a `CheckpointInfo` that say what a run's labels show; None = unknown."""
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
