"""Options of a run besides its recipe, and checks against recipe and data."""

import math
from dataclasses import dataclass
from typing import Final

import torch

from blitznet.data.description import DataDescription
from blitznet.device import has_fast_bfloat16
from blitznet.errors import RecipeError
from blitznet.training.recipe import Precision, Recipe
from blitznet.training.validation import VALIDATION_SPLIT

_VALIDATIONS = 10  # per run
_MINIMUM_STEPS = 20  # between validations

# Lightning Fabric's names.
FABRIC_PRECISION: Final[dict[Precision, str]] = {"fp32": "32-true", "bf16": "bf16-mixed"}


@dataclass(frozen=True)
class LoopOptions:
    """How a run is carried out, which does not change its result.

    The exceptions are `epochs`, `skip_bad`, `early_stopping` and rounding: compiled code and other
    devices sum in other orders. The fields are arguments of `blitznet.training.train.train`;
    `devices` is the number of processes on all machines, `accelerator` the type of its `device`.
    """

    devices: int = 1
    accelerator: str = "auto"
    workers: int = 2
    max_minutes: float | None = None
    validate_every: int | None = 0
    early_stopping: int | None = None
    compile: bool = False
    skip_bad: bool = False
    tensorboard: bool = False
    epochs: float | None = None


def usable_precision(wanted: Precision, device: torch.device) -> Precision:
    """The wanted precision, or fp32 where bfloat16 would be emulated and several times slower."""
    return wanted if has_fast_bfloat16(device) else "fp32"


def require_fit(recipe: Recipe, data: DataDescription, options: LoopOptions) -> None:
    """Raise RecipeError if the recipe does not fit the data or the options.

    Args:
        recipe: recipe fitted to the data.
        data: data description.
        options: options of the run.
    """
    if recipe.model.num_classes != len(data.classes):
        raise RecipeError(
            f"recipe {recipe.name} has {recipe.model.num_classes} classes, the data has "
            f"{len(data.classes)} with background; use --set model.num_classes={len(data.classes)}"
        )
    if recipe.global_batch_size % (options.devices * recipe.accumulate):
        parts = f" in {recipe.accumulate} parts each" if recipe.accumulate > 1 else ""
        raise RecipeError(
            f"a global batch of {recipe.global_batch_size} images cannot be shared by "
            f"{options.devices} devices{parts}; use --set global_batch_size=N with a multiple of "
            "them"
        )
    if options.early_stopping is not None and not steps_between_validations(recipe, data, options):
        raise RecipeError(
            "--early-stopping needs validations, and there are none; it takes a split val in the "
            "data, and no --validate-every 0"
        )


def steps_between_validations(recipe: Recipe, data: DataDescription, options: LoopOptions) -> int:
    """Steps between two validations of a run; 0 = no validations.

    Raises:
        RecipeError: if validations are requested but the data has no `val` split.
    """
    has_split = VALIDATION_SPLIT in data.splits
    if options.validate_every is None:
        return max(_MINIMUM_STEPS, math.ceil(recipe.steps / _VALIDATIONS)) if has_split else 0
    if options.validate_every and not has_split:
        raise RecipeError(
            f"--validate-every {options.validate_every}: the data has no split "
            f"{VALIDATION_SPLIT!r}; add one, or use --validate-every 0"
        )
    return options.validate_every
