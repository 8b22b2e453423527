"""How a run is carried out, and whether that can be done with a recipe and data."""

import math
import os
from dataclasses import dataclass

from blitznet.data.description import DataDescription
from blitznet.errors import RecipeError
from blitznet.training.network import require_synchronizable
from blitznet.training.recipe import Recipe
from blitznet.training.validation import VALIDATION_SPLIT

# Unless told otherwise.
_VALIDATIONS = 10  # in a run
_LEAST_STEPS = 20  # between two of them


@dataclass
class LoopOptions:
    """How a run is carried out; it does not change the result.

    But for `early_stopping`, and rounding: compiled, or on other devices, sums have other orders.

    Attributes:
        devices: processes, one a device; torchrun starts its own number of them.
        accelerator: auto, cpu, cuda or mps.
        workers: processes that prepare pictures, per device.
        max_minutes: stop cleanly, with a checkpoint, inside this time; None = no limit.
        validate_every: steps between two measurements of the weights on the `val` split; None =
            ten times a run if there is such a split; 0 = never.
        early_stopping: validations without a gain after which the best weights are the result;
            None = all steps are taken.
        compile: the network, by `torch.compile`.
    """

    devices: int = 1
    accelerator: str = "auto"
    workers: int = 2
    max_minutes: float | None = None
    validate_every: int | None = 0
    early_stopping: int | None = None
    compile: bool = False


def count_processes(options: LoopOptions) -> tuple[int, int]:
    """Processes on this machine, and machines; torchrun says both, and `devices` does not count."""
    if "TORCHELASTIC_RUN_ID" in os.environ:
        return int(os.environ["LOCAL_WORLD_SIZE"]), int(os.environ["GROUP_WORLD_SIZE"])
    return options.devices, 1


def require_fit(recipe: Recipe, data: DataDescription, options: LoopOptions) -> None:
    """Raise RecipeError if the recipe does not fit the data or the way it is carried out."""
    if recipe.model.num_classes != len(data.classes):
        raise RecipeError(
            f"recipe {recipe.name} has {recipe.model.num_classes} classes, the data has "
            f"{len(data.classes)} with background; use --set model.num_classes={len(data.classes)}"
        )
    processes = math.prod(count_processes(options))
    if recipe.global_batch_size % (processes * recipe.accumulate):
        parts = f" in {recipe.accumulate} parts each" if recipe.accumulate > 1 else ""
        raise RecipeError(
            f"a global batch of {recipe.global_batch_size} pictures cannot be shared by "
            f"{processes} devices{parts}; use --set global_batch_size=N with a multiple of "
            "them"
        )
    if recipe.sync_batchnorm and processes > 1:
        require_synchronizable(options.accelerator)
    if options.early_stopping is not None and not steps_between_validations(recipe, data, options):
        raise RecipeError(
            "--early-stopping goes by validations, and there are none; it takes a split val in the "
            "data, and no --validate-every 0"
        )


def steps_between_validations(recipe: Recipe, data: DataDescription, options: LoopOptions) -> int:
    """How many steps lie between two validations of a run; 0 = there are none.

    Raises:
        RecipeError: if validations are asked for that the data cannot give.
    """
    has_split = VALIDATION_SPLIT in data.splits
    if options.validate_every is None:
        return max(_LEAST_STEPS, math.ceil(recipe.steps / _VALIDATIONS)) if has_split else 0
    if options.validate_every and not has_split:
        raise RecipeError(
            f"--validate-every {options.validate_every}: the data has no split "
            f"{VALIDATION_SPLIT!r}; add one, or use --validate-every 0"
        )
    return options.validate_every
