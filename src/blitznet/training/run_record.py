"""What a run folder says of its run: enough to resume it, to repeat it, to trust its figures."""

import platform
import subprocess
import sys
from importlib.metadata import version
from pathlib import Path

import torch
from pydantic import ValidationError

from blitznet.errors import RecipeError, first_problem
from blitznet.text_files import read_json, write_json
from blitznet.training.recipe import Recipe

RUN_FILE = "run.json"


def write_run(folder: Path, recipe: Recipe, data: Path) -> None:
    """Recipe, data description and environment of a run that begins."""
    content = {
        "recipe": recipe.model_dump(mode="json"),
        "data": str(data.resolve()),
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
    path = folder / RUN_FILE
    if not path.is_file():
        raise RecipeError(f"{folder} holds no run ({RUN_FILE} is missing)")
    content = read_json(path, RecipeError)
    try:
        return Recipe.model_validate(content["recipe"]), Path(content["data"])
    except ValidationError as error:
        raise RecipeError(f"{path}: {first_problem(error)}") from None
    except (KeyError, TypeError) as error:
        raise RecipeError(f"{path} is damaged: {error!r}") from None


def hardware_name(device: torch.device) -> str:
    """The GPU's name, or the kind of processor and the number of cores in use."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device)
    return f"{platform.machine()} CPU, {torch.get_num_threads()} cores"
